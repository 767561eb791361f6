// Are the storms of native/tests/sim_test.c worth anything? Each row puts one bug into one file of the io layer and expects that they fail. A
// row whose text is no longer in the file fails, too: whoever changes the place plants the bug anew. The files themselves are not touched.

import { assert, assertEquals } from "@std/assert";
import { findProgram, ROOT } from "./support.ts";

interface Planted {
  bug: string;
  file: "io" | "uring" | "epoll";
  backend: "uring" | "epoll";
  /** Of sim_test.c; without it the storms on that backend. */
  test?: string;
  /** Code that is right, and what stands there instead. */
  right: string;
  wrong: string;
}

const PLANTED: Planted[] = [
  {
    bug: "what lost MORE is not armed again",
    file: "uring",
    backend: "uring",
    right: "sl__io_dirty(io, io_conn); // arm again, or close",
    wrong:
      "if (io_conn->state != SL__IO_OPEN || op > SL__OP_RECV_ONCE) { sl__io_dirty(io, io_conn); }",
  },
  {
    bug: "the completion of a cancel is taken for the end of its target",
    file: "uring",
    backend: "uring",
    right: "SL_ASSERT(op == SL__OP_CANCEL);",
    wrong:
      "if (io_conn->armed & SL__BIT(SL__OP_RECV)) { sl__io_disarm(io, io_conn, SL__OP_RECV); }",
  },
  {
    bug: "a message is given back before the send's last completion",
    file: "io",
    backend: "uring",
    right: "if (!msg_advance(io_conn->msg, (uint64_t)bytes)) {",
    wrong:
      "if (!msg_advance(io_conn->msg, (uint64_t)bytes) && io_conn->sent > bytes) {",
  },
  {
    bug: "a closing connection does not wait for the end of its cancel",
    file: "uring",
    backend: "uring",
    right: "if (io_conn->armed == 0) {\n        sl__io_close_now",
    wrong:
      "if (!(io_conn->armed & ~SL__BIT(SL__OP_CANCEL))) {\n        io_conn->armed = 0;\n        sl__io_close_now",
  },
  {
    bug: "the buffer of an end is kept",
    file: "uring",
    backend: "uring",
    right: "sl_buf_unref(io->pool, buf);\n    if (res == -ENOBUFS) {",
    wrong: "if (res == -ENOBUFS) {",
  },
  {
    bug: "the error that a short send kept is not looked for",
    file: "uring",
    backend: "uring",
    right:
      "return doubtful && sl__io_is_reset(io, io_conn) ? -ECONNRESET : res;",
    wrong: "(void)io;\n    (void)doubtful;\n    return res;",
  },
  {
    bug: "the trial of the receive limit gives up when it is interrupted",
    file: "uring",
    backend: "uring",
    test: "rings_open",
    right: "(error == EINTR || error == EAGAIN); again++) {",
    wrong: "(error == EBADR); again++) {",
  },
  {
    bug: "an edge is lost: nothing follows the end behind a short read",
    file: "epoll",
    backend: "epoll",
    right:
      "if ((uint32_t)got < buf->cap && !(io_conn->flags & SL__F_HANGUP)) {",
    wrong: "if ((uint32_t)got < buf->cap) {",
  },
  {
    bug: "a whole buffer is taken for all there is",
    file: "epoll",
    backend: "epoll",
    right:
      "if ((uint32_t)got < buf->cap && !(io_conn->flags & SL__F_HANGUP)) {",
    wrong: "if (!(io_conn->flags & SL__F_HANGUP)) {",
  },
  {
    bug: "an interrupted send is not tried again",
    file: "epoll",
    backend: "epoll",
    right:
      "if (error == EINTR) {\n            sl__io_dirty(io, io_conn);\n        } else {",
    wrong: "if (error != EINTR) {",
  },
];

PLANTED.push(
  {
    bug: "a reset behind the data is not looked for",
    file: "uring",
    backend: "uring",
    right:
      "if ((cqe_flags & URING_CQE_F_MORE) && sl__io_is_reset(io, io_conn)) {",
    wrong: "if ((cqe_flags & URING_CQE_F_MORE) && !io) {",
  },
  {
    bug: "a stopped listener does not wait for its accept",
    file: "uring",
    backend: "uring",
    right: "if (op == SL__OP_CANCEL_ACCEPT) {\n        return;",
    wrong:
      "if (op == SL__OP_CANCEL_ACCEPT) {\n        listener->armed = false;\n        return;",
  },
  {
    bug: "a poll that lost MORE is not armed again",
    file: "uring",
    backend: "uring",
    right: "uring->wake_armed = false;",
    wrong: "uring->wake_armed = true;",
  },
  {
    bug: "a receive that finds no buffer does not wait in line",
    file: "io",
    backend: "uring",
    right: "starve(io, io_conn, io_conn->want == SL_RECV_ONCE",
    wrong:
      "io_conn->flags |= SL__F_STARVED;\n        (void)(io_conn->want == SL_RECV_ONCE",
  },
);

const SOURCES = [
  "sim",
  "sim_uring",
  "sim_epoll",
  "sys",
  "buf",
  "base",
  "status",
];

async function compile(cc: string, args: string[]) {
  const { success, stderr } = await new Deno.Command(cc, {
    args: [
      "-std=gnu11",
      "-O1",
      "-g",
      "-D_GNU_SOURCE",
      ...["include", "src", "tests"].map((dir) => `-I${ROOT}/native/${dir}`),
      ...args,
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

Deno.test("the storms of sim_test.c find every planted bug", async (t) => {
  const cc = await findProgram("cc");
  assert(cc, "no C compiler");
  const dir = await Deno.makeTempDir({ prefix: "sluice-planted-" });
  const source = (name: string) => `${ROOT}/native/src/${name}.c`;
  const common = [...SOURCES, "io", "uring", "epoll"];
  await Promise.all([
    ...common.map((name) =>
      compile(cc, ["-c", source(name), "-o", `${dir}/${name}.o`])
    ),
    compile(cc, [
      "-c",
      `${ROOT}/native/tests/sim_test.c`,
      "-o",
      `${dir}/sim_test.o`,
    ]),
  ]);
  for (const { bug, file, backend, test, right, wrong } of PLANTED) {
    await t.step(bug, async () => {
      const text = await Deno.readTextFile(source(file));
      assertEquals(text.split(right).length, 2, `not in ${file}.c: ${right}`);
      await Deno.writeTextFile(
        `${dir}/bad.c`,
        text.replace(right, () => wrong),
      );
      const objects = [...common, "sim_test"].filter((name) => name !== file);
      await compile(cc, [
        `${dir}/bad.c`,
        ...objects.map((name) => `${dir}/${name}.o`),
        "-lpthread",
        "-o",
        `${dir}/planted`,
      ]);
      const { success, stdout, stderr } = await new Deno.Command(
        `${dir}/planted`,
        {
          args: [test ?? `storms_on_${backend}`],
          signal: AbortSignal.timeout(60_000), // a broken loop may spin
        },
      ).output();
      const said = new TextDecoder().decode(stdout) +
        new TextDecoder().decode(stderr);
      assert(!success, `it was not found:\n${said}`);
      if (Deno.env.get("SLUICE_PLANTED_SHOW")) {
        console.log(said.split("\n").find((line) => line.includes("SEED")));
      }
      assert(/SLUICE_SIM_SEED=\d+/.test(said), `no seed:\n${said}`);
    });
  }
  await Deno.remove(dir, { recursive: true });
});
