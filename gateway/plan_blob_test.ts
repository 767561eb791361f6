import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import * as abi from "../ffi/abi.ts";
import { headers } from "./middleware/headers.ts";
import { respond } from "./middleware/respond.ts";
import { proxy } from "./middleware/proxy.ts";
import { checkOptions } from "./options.ts";
import { compilePlan, type Plan } from "./plan.ts";
import { encodePlan } from "./plan_blob.ts";

function sample(): Plan {
  const app = new Hono();
  app.get(
    "/a/:id/*",
    headers({
      request: { set: { "X-A": "\u00e9" }, remove: ["b"] },
      response: { append: { "Set-Cookie": "c=1" } },
    }),
  );
  app.get("/a/:id/*", respond("hi", { headers: { "X-Name": "caf\u00e9" } }));
  app.on("PURGE", "/ü", (c) => c.text(""));
  app.all("/p", proxy("http://[2001:db8::1]:81", { connsMax: 5 }));
  const plan = compilePlan(app, checkOptions({ notFound: "native" }));
  plan.upstreams[0].address = [0x20, 1, 0x0d, 0xb8, ...Array(11).fill(0), 1];
  return plan;
}

// Reads a blob as C does: every offset is checked against its length.
class Reader {
  readonly view: DataView;

  constructor(readonly blob: Uint8Array) {
    this.view = new DataView(blob.buffer);
  }

  u8(at: number): number {
    return this.view.getUint8(at);
  }

  u16(at: number): number {
    return this.view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  bytes(off: number, len: number): Uint8Array {
    if (off + len > this.blob.length) throw new RangeError(`${off} + ${len}`);
    return this.blob.slice(off, off + len);
  }

  text(off: number, len: number): string {
    return new TextDecoder().decode(this.bytes(off, len));
  }
}

describe("encodePlan()", () => {
  const blob = encodePlan(sample());
  const read = new Reader(blob);

  it("writes a header that tells where the tables lie", () => {
    expect(read.u32(abi.SL_PLAN_HEADER_MAGIC_OFF)).toBe(abi.SL_PLAN_MAGIC);
    expect(read.u32(abi.SL_PLAN_HEADER_VERSION_OFF)).toBe(abi.SL_PLAN_VERSION);
    expect(read.u32(abi.SL_PLAN_HEADER_BYTES_OFF)).toBe(blob.length);
    expect(blob.length % 8).toBe(0);
    expect(read.u32(abi.SL_PLAN_HEADER_FLAGS_OFF)).toBe(
      abi.SL_PLAN_F_NOT_FOUND_NATIVE,
    );
    expect(read.u32(abi.SL_PLAN_HEADER_ENTRY_COUNT_OFF)).toBe(3);
    const via = read.u32(abi.SL_PLAN_HEADER_VIA_OFF_OFF);
    expect(read.text(via, read.u32(abi.SL_PLAN_HEADER_VIA_LEN_OFF))).toBe(
      "sluice",
    );
  });

  it("writes each entry with its method and segments", () => {
    const entries = read.u32(abi.SL_PLAN_HEADER_ENTRIES_OFF_OFF);
    const segs = read.u32(abi.SL_PLAN_HEADER_SEGS_OFF_OFF);
    const rows = [0, 1, 2].map((i) => {
      const at = entries + i * abi.SL_PLAN_ENTRY_BYTES;
      const first = read.u32(at + abi.SL_PLAN_ENTRY_SEG_FIRST_OFF);
      const count = read.u8(at + abi.SL_PLAN_ENTRY_SEG_COUNT_OFF);
      const segments = Array.from({ length: count }, (_, s) => {
        const seg = segs + (first + s) * abi.SL_PLAN_SEG_BYTES;
        const kind = read.u8(seg + abi.SL_PLAN_SEG_KIND_OFF);
        if (kind !== abi.SL_PLAN_SEG_STATIC) return kind;
        return read.text(
          read.u32(seg + abi.SL_PLAN_SEG_OFF_OFF),
          read.u16(seg + abi.SL_PLAN_SEG_LEN_OFF),
        );
      });
      const name = read.text(
        read.u32(at + abi.SL_PLAN_ENTRY_METHOD_OFF_OFF),
        read.u32(at + abi.SL_PLAN_ENTRY_METHOD_LEN_OFF),
      );
      return [read.u8(at), name, segments, stepsOf(at)];
    });
    expect(rows).toEqual([
      [abi.SL_METHOD_GET, "", ["a", 1, 2], [
        [abi.SL_PLAN_OP_HEADERS, 0, 0],
        [abi.SL_PLAN_OP_RESPOND, 0, 1],
      ]],
      [abi.SL_METHOD_OTHER, "PURGE", ["ü"], [[
        abi.SL_PLAN_OP_TYPESCRIPT,
        0,
        2,
      ]]],
      [abi.SL_PLAN_METHOD_ALL, "", ["p"], [[abi.SL_PLAN_OP_PROXY, 0, 3]]],
    ]);
  });

  function stepsOf(entry: number): number[][] {
    const steps = read.u32(abi.SL_PLAN_HEADER_STEPS_OFF_OFF);
    const first = read.u32(entry + abi.SL_PLAN_ENTRY_STEP_FIRST_OFF);
    const count = read.u8(entry + abi.SL_PLAN_ENTRY_STEP_COUNT_OFF);
    return Array.from({ length: count }, (_, i) => {
      const at = steps + (first + i) * abi.SL_PLAN_STEP_BYTES;
      return [
        read.u8(at + abi.SL_PLAN_STEP_OP_OFF),
        read.u32(at + abi.SL_PLAN_STEP_ARG_OFF),
        read.u32(at + abi.SL_PLAN_STEP_ROUTE_OFF),
      ];
    });
  }

  it("writes a headers row with its edits, in order", () => {
    const row = read.u32(abi.SL_PLAN_HEADER_HEADERS_OFF_OFF);
    const words = Array.from({ length: 6 }, (_, i) => read.u32(row + i * 4));
    expect(words).toEqual([0, 2, 2, 1, 1 + 8, 17]);
    expect(read.u32(abi.SL_PLAN_HEADER_EDIT_COUNT_OFF)).toBe(3);
    const edits = read.u32(abi.SL_PLAN_HEADER_EDITS_OFF_OFF);
    const texts = [0, 1, 2].map((i) => {
      const at = edits + i * abi.SL_PLAN_EDIT_BYTES;
      const bytes = read.bytes(
        read.u32(at + abi.SL_PLAN_EDIT_OFF_OFF),
        read.u32(at + abi.SL_PLAN_EDIT_LEN_OFF),
      );
      return [
        read.u8(at + abi.SL_PLAN_EDIT_KIND_OFF),
        read.u16(at + abi.SL_PLAN_EDIT_NAME_LEN_OFF),
        String.fromCharCode(...bytes),
      ];
    });
    expect(texts).toEqual([
      [abi.SL_PLAN_EDIT_REMOVE, 1, "b"],
      [abi.SL_PLAN_EDIT_SET, 3, "x-a: \u00e9\r\n"],
      [abi.SL_PLAN_EDIT_APPEND, 10, "set-cookie: c=1\r\n"],
    ]);
  });

  it("writes a respond row with latin1 field lines", () => {
    const at = read.u32(abi.SL_PLAN_HEADER_RESPONDS_OFF_OFF);
    expect(read.u16(at + abi.SL_PLAN_RESPOND_STATUS_OFF)).toBe(200);
    const fields = read.bytes(
      read.u32(at + abi.SL_PLAN_RESPOND_FIELDS_OFF_OFF),
      read.u32(at + abi.SL_PLAN_RESPOND_FIELDS_LEN_OFF),
    );
    expect(String.fromCharCode(...fields)).toBe(
      "x-name: caf\u00e9\r\ncontent-type: text/plain;charset=UTF-8\r\n",
    );
    const body = read.u32(at + abi.SL_PLAN_RESPOND_BODY_OFF_OFF);
    expect(read.text(body, read.u32(at + abi.SL_PLAN_RESPOND_BODY_LEN_OFF)))
      .toBe("hi");
  });

  it("writes an upstream row", () => {
    const at = read.u32(abi.SL_PLAN_HEADER_UPSTREAMS_OFF_OFF);
    expect(read.u8(at + abi.SL_PLAN_UPSTREAM_FAMILY_OFF)).toBe(6);
    expect(read.u16(at + abi.SL_PLAN_UPSTREAM_PORT_OFF)).toBe(81);
    expect([...read.bytes(at + abi.SL_PLAN_UPSTREAM_ADDR_OFF, 4)]).toEqual([
      0x20,
      1,
      0x0d,
      0xb8,
    ]);
    expect(read.u32(at + abi.SL_PLAN_UPSTREAM_CONNS_MAX_OFF)).toBe(5);
  });

  it("refuses more routes than a plan holds", () => {
    const plan = sample();
    plan.entries = Array(abi.SL_PLAN_ENTRIES_MAX + 1).fill(plan.entries[0]);
    expect(() => encodePlan(plan)).toThrow(/65537 routes/);
  });
});
