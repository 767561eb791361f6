import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  CLOSE,
  encodeClose,
  encodeFrame,
  FrameDecoder,
  FrameError,
  isCloseCode,
  OPCODE,
  type Received,
  unmask,
} from "./websocket_frames.ts";

const utf8 = new TextEncoder();

// ---- A client's frames, whatever is wrong with them

interface Frame {
  opcode: number;
  data: string | Uint8Array | number[];
  fin?: boolean;
  rsv?: number;
  masked?: boolean;
  mask?: number[];
  /** Bytes that the length takes besides the first: 0, 2 or 8; the fewest if absent. */
  lengthBytes?: number;
  /** What the head says, if not how long the data is. */
  length?: bigint;
}

function clientFrame(frame: Frame): number[] {
  const { opcode, data, fin = true, rsv = 0, masked = true } = frame;
  const payload = typeof data === "string" ? utf8.encode(data) : data;
  const mask = frame.mask ?? [0x37, 0xfa, 0x21, 0x3d];
  const length = frame.length ?? BigInt(payload.length);
  const more = frame.lengthBytes ??
    (length < 126n ? 0 : length < 65536n ? 2 : 8);
  const head = [(fin ? 0x80 : 0) | rsv | opcode];
  head.push(
    (masked ? 0x80 : 0) |
      (more === 0 ? Number(length) : more === 2 ? 126 : 127),
  );
  for (let i = more - 1; i >= 0; i--) {
    head.push(Number(length >> BigInt(i * 8) & 255n));
  }
  if (!masked) return [...head, ...payload];
  return [
    ...head,
    ...mask,
    ...Array.from(payload, (byte, i) => byte ^ mask[i & 3]),
  ];
}

const LIMITS = {
  messageBytesMax: 70_000,
  frameBytesMax: 70_000,
  fragmentsMax: 8,
};

function bytesOf(frames: readonly Frame[]): Uint8Array {
  return new Uint8Array(frames.flatMap(clientFrame));
}

/** What came of the bytes, and the code of the error that ended it. */
function decode(
  parts: readonly Uint8Array[],
  limits = LIMITS,
): { received: Received[]; code?: number; read: number } {
  const decoder = new FrameDecoder(limits);
  const received: Received[] = [];
  let read = 0;
  try {
    for (const part of parts) {
      read += part.length;
      decoder.feed(part.slice());
      for (let one = decoder.next(); one; one = decoder.next()) {
        received.push(one);
      }
    }
    return { received, read };
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    return { received, code: error.code, read };
  }
}

function byByte(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

const text = (data: string): Received => ({ kind: "text", data });
const binary = (...data: number[]): Received => ({
  kind: "binary",
  data: new Uint8Array(data),
});

interface Row {
  name: string;
  frames: Frame[];
  gives?: Received[];
  code?: number;
  /** Bytes until the error, if it must not take all of them. */
  early?: number;
}

const T = OPCODE.text, B = OPCODE.binary, C = OPCODE.continuation;

const ROWS: Row[] = [
  // Autobahn's section 1: framing.
  { name: "empty text", frames: [{ opcode: T, data: "" }], gives: [text("")] },
  {
    name: "empty binary",
    frames: [{ opcode: B, data: "" }],
    gives: [binary()],
  },
  ...[125, 126, 127, 128, 65535, 65536].map((n): Row => ({
    name: `text of ${n} bytes`,
    frames: [{ opcode: T, data: "*".repeat(n) }],
    gives: [text("*".repeat(n))],
  })),
  ...[125, 126, 65535, 65536].map((n): Row => ({
    name: `binary of ${n} bytes`,
    frames: [{ opcode: B, data: new Uint8Array(n).fill(0xfe) }],
    gives: [{ kind: "binary", data: new Uint8Array(n).fill(0xfe) }],
  })),
  {
    name: "three messages in a row",
    frames: [{ opcode: T, data: "a" }, { opcode: B, data: "b" }, {
      opcode: T,
      data: "c",
    }],
    gives: [text("a"), binary(98), text("c")],
  },
  // 2: pings and pongs.
  {
    name: "ping",
    frames: [{ opcode: 9, data: "" }],
    gives: [{ kind: "ping", data: new Uint8Array() }],
  },
  {
    name: "ping of 125 bytes",
    frames: [{ opcode: 9, data: new Uint8Array(125).fill(0xfe) }],
    gives: [{ kind: "ping", data: new Uint8Array(125).fill(0xfe) }],
  },
  {
    name: "ping of 126 bytes",
    frames: [{ opcode: 9, data: new Uint8Array(126) }],
    code: 1002,
    early: 2,
  },
  {
    name: "unsolicited pong",
    frames: [{ opcode: 10, data: "x" }],
    gives: [{
      kind: "pong",
      data: utf8.encode("x") as Uint8Array<ArrayBuffer>,
    }],
  },
  // 3: reserved bits.
  ...[0x40, 0x20, 0x10, 0x70].flatMap((rsv): Row[] => [
    {
      name: `reserved bits ${rsv} of a text`,
      frames: [{ opcode: T, data: "a", rsv }],
      code: 1002,
      early: 1,
    },
    {
      name: `reserved bits ${rsv} of a ping`,
      frames: [{ opcode: 9, data: "", rsv }],
      code: 1002,
      early: 1,
    },
  ]),
  // 4: opcodes.
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): Row => ({
    name: `opcode ${opcode}`,
    frames: [{ opcode: T, data: "a" }, { opcode, data: "" }],
    gives: [text("a")],
    code: 1002,
    early: 8,
  })),
  // 5: fragments.
  {
    name: "text in two fragments",
    frames: [{ opcode: T, data: "a", fin: false }, { opcode: C, data: "b" }],
    gives: [text("ab")],
  },
  {
    name: "text with a ping inside",
    frames: [{ opcode: T, data: "a", fin: false }, { opcode: 9, data: "p" }, {
      opcode: C,
      data: "b",
    }],
    gives: [
      { kind: "ping", data: utf8.encode("p") as Uint8Array<ArrayBuffer> },
      text("ab"),
    ],
  },
  {
    name: "binary in three fragments, the middle one empty",
    frames: [{ opcode: B, data: "a", fin: false }, {
      opcode: C,
      data: "",
      fin: false,
    }, { opcode: C, data: "b" }],
    gives: [binary(97, 98)],
  },
  {
    name: "fragments that are all empty",
    frames: [{ opcode: T, data: "", fin: false }, {
      opcode: C,
      data: "",
      fin: false,
    }, { opcode: C, data: "" }],
    gives: [text("")],
  },
  {
    name: "fragmented ping",
    frames: [{ opcode: 9, data: "a", fin: false }],
    code: 1002,
    early: 1,
  },
  {
    name: "fragmented pong",
    frames: [{ opcode: 10, data: "a", fin: false }],
    code: 1002,
    early: 1,
  },
  {
    name: "fragmented close",
    frames: [{ opcode: 8, data: "", fin: false }],
    code: 1002,
    early: 1,
  },
  {
    name: "continuation of nothing",
    frames: [{ opcode: C, data: "a" }],
    code: 1002,
    early: 1,
  },
  {
    name: "unfinished continuation of nothing",
    frames: [{ opcode: C, data: "a", fin: false }],
    code: 1002,
    early: 1,
  },
  {
    name: "continuation behind a whole message",
    frames: [{ opcode: T, data: "a" }, { opcode: C, data: "b" }],
    gives: [text("a")],
    code: 1002,
    early: 8,
  },
  {
    name: "text inside a text",
    frames: [{ opcode: T, data: "a", fin: false }, { opcode: T, data: "b" }],
    code: 1002,
    early: 8,
  },
  {
    name: "binary inside a text",
    frames: [{ opcode: T, data: "a", fin: false }, { opcode: B, data: "b" }],
    code: 1002,
    early: 8,
  },
  // 6: UTF-8.
  {
    name: "text beyond ASCII",
    frames: [{ opcode: T, data: "Hällo-µ@ßöä-𐍈" }],
    gives: [text("Hällo-µ@ßöä-𐍈")],
  },
  {
    name: "a byte order mark stays",
    frames: [{ opcode: T, data: "\ufeffa" }],
    gives: [text("\ufeffa")],
  },
  {
    name: "a character over two fragments",
    frames: [{ opcode: T, data: [0xce], fin: false }, {
      opcode: C,
      data: [0xba],
    }],
    gives: [text("κ")],
  },
  {
    name: "a character over four fragments with a ping inside",
    frames: [
      { opcode: T, data: [0xf0], fin: false },
      { opcode: C, data: [0x90], fin: false },
      { opcode: 9, data: "" },
      { opcode: C, data: [0x8d], fin: false },
      { opcode: C, data: [0x88] },
    ],
    gives: [{ kind: "ping", data: new Uint8Array() }, text("𐍈")],
  },
  ...([
    ["a lone continuation byte", [0x80]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["an overlong of three bytes", [0xe0, 0x80, 0xaf]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["0xff", [0xff]],
    ["cut short", [0xce]],
    ["cut short inside four bytes", [0xf0, 0x90, 0x8d]],
  ] as [string, number[]][]).map(([what, data]): Row => ({
    name: `text: ${what}`,
    frames: [{ opcode: T, data }],
    code: 1007,
  })),
  {
    name: "bad UTF-8 is noticed in the fragment that has it",
    frames: [{ opcode: T, data: [0x61, 0xff], fin: false }, {
      opcode: C,
      data: "b",
    }],
    code: 1007,
    early: 8,
  },
  {
    name: "what cannot become a character is noticed before its end",
    frames: [{ opcode: T, data: [0xf4, 0x90, 0x80, 0x80] }],
    code: 1007,
    early: 8,
  },
  {
    name: "a character that its message does not end",
    frames: [{ opcode: T, data: [0xce], fin: false }, { opcode: C, data: "" }],
    code: 1007,
  },
  {
    name: "binary is no text",
    frames: [{ opcode: B, data: [0xff, 0xc0] }],
    gives: [binary(0xff, 0xc0)],
  },
  // 7: closing.
  {
    name: "close without a code",
    frames: [{ opcode: 8, data: "" }],
    gives: [{ kind: "close", code: 1005, reason: "" }],
  },
  {
    name: "close with half a code",
    frames: [{ opcode: 8, data: [3] }],
    code: 1002,
  },
  {
    name: "close with a reason",
    frames: [{ opcode: 8, data: [3, 232, ...utf8.encode("Tschüß")] }],
    gives: [{ kind: "close", code: 1000, reason: "Tschüß" }],
  },
  {
    name: "close with the longest reason",
    frames: [{ opcode: 8, data: [3, 232, ...utf8.encode("r".repeat(123))] }],
    gives: [{ kind: "close", code: 1000, reason: "r".repeat(123) }],
  },
  {
    name: "close of 126 bytes",
    frames: [{ opcode: 8, data: new Uint8Array(126) }],
    code: 1002,
    early: 2,
  },
  {
    name: "close with a reason that is no text",
    frames: [{ opcode: 8, data: [3, 232, 0xce] }],
    code: 1007,
  },
  ...[
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1013,
    1014,
    3000,
    3999,
    4000,
    4999,
  ]
    .map((code): Row => ({
      name: `close ${code}`,
      frames: [{ opcode: 8, data: [code >> 8, code & 255] }],
      gives: [{ kind: "close", code, reason: "" }],
    })),
  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
    .map((code): Row => ({
      name: `close ${code}, which nobody may send`,
      frames: [{ opcode: 8, data: [code >> 8, code & 255] }],
      code: 1002,
    })),
  // Masks and lengths (sections 5.1 and 5.2 of the RFC).
  {
    name: "no mask",
    frames: [{ opcode: T, data: "a", masked: false }],
    code: 1002,
    early: 2,
  },
  {
    name: "a ping without a mask",
    frames: [{ opcode: 9, data: "", masked: false }],
    code: 1002,
    early: 2,
  },
  {
    name: "a length of 125 in 16 bits",
    frames: [{ opcode: T, data: "a".repeat(125), lengthBytes: 2 }],
    code: 1002,
    early: 8,
  },
  {
    name: "a length of 65535 in 64 bits",
    frames: [{ opcode: B, data: new Uint8Array(65535), lengthBytes: 8 }],
    code: 1002,
    early: 14,
  },
  {
    name: "a length with its highest bit",
    frames: [{ opcode: B, data: "", length: 2n ** 63n }],
    code: 1002,
    early: 14,
  },
  // Limits.
  {
    name: "a frame above its limit",
    frames: [{ opcode: B, data: "", length: 70_001n }],
    code: 1009,
    early: 14,
  },
  {
    name: "a frame of 2^63 - 1 bytes",
    frames: [{ opcode: B, data: "", length: 2n ** 63n - 1n }],
    code: 1009,
    early: 14,
  },
  {
    name: "a message above its limit",
    frames: [{ opcode: B, data: new Uint8Array(69_999), fin: false }, {
      opcode: C,
      data: "ab",
    }],
    code: 1009,
  },
  {
    name: "as many frames as a message may have",
    frames: [
      { opcode: T, data: "", fin: false },
      ...Array(6).fill({ opcode: C, data: "", fin: false }),
      { opcode: C, data: "e" },
    ],
    gives: [text("e")],
  },
  {
    name: "one more",
    frames: [
      { opcode: T, data: "", fin: false },
      ...Array(8).fill({ opcode: C, data: "", fin: false }),
    ],
    code: 1009,
  },
];

describe("FrameDecoder", () => {
  for (const { name, frames, gives = [], code, early } of ROWS) {
    it(name, () => {
      const bytes = bytesOf(frames);
      const whole = decode([bytes]);
      assertEquals([whole.received, whole.code], [gives, code]);
      const slow = decode(byByte(bytes));
      assertEquals([slow.received, slow.code], [gives, code]);
      if (early !== undefined) assertEquals(slow.read, early);
      const cuts = bytes.length < 300 ? bytes.length : 20;
      for (let cut = 0; cut <= cuts; cut++) {
        const split = decode([bytes.subarray(0, cut), bytes.subarray(cut)]);
        assertEquals([split.received, split.code], [gives, code], `${cut}`);
      }
    });
  }

  it("gives one frame at a time, so that its reader may pause between two", () => {
    const decoder = new FrameDecoder(LIMITS);
    decoder.feed(bytesOf([{ opcode: T, data: "a" }, { opcode: T, data: "b" }]));
    assertEquals([decoder.next(), decoder.hungry], [text("a"), false]);
    assertEquals([decoder.next(), decoder.hungry], [text("b"), true]);
    assertEquals(decoder.next(), undefined);
  });
});

// ---- Random frames

function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => { // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const SIZES = [0, 1, 2, 3, 5, 63, 64, 65, 125, 126, 127, 1000];

function randomMessages(random: (below: number) => number) {
  const frames: Frame[] = [];
  const gives: Received[] = [];
  for (let count = 1 + random(5); count > 0; count--) {
    const isText = random(2) === 0;
    const size = SIZES[random(SIZES.length)];
    const string = Array.from({ length: size }, () => [..."aé€𐍈"][random(4)])
      .join("");
    const data = isText
      ? utf8.encode(string)
      : Uint8Array.from({ length: size }, () => random(256));
    const pieces = 1 + random(4);
    for (let i = 0, at = 0; i < pieces; i++) {
      const end = i === pieces - 1
        ? data.length
        : at + random(data.length - at + 1);
      const opcode = i > 0 ? C : isText ? T : B;
      frames.push({
        opcode,
        data: data.slice(at, end),
        fin: i === pieces - 1,
        mask: [random(256), random(256), random(256), random(256)],
      });
      at = end;
      if (i < pieces - 1 && random(3) === 0) {
        frames.push({ opcode: 9, data: [random(256)] });
        const [byte] = frames.at(-1)!.data as number[];
        gives.push({ kind: "ping", data: new Uint8Array([byte]) });
      }
    }
    gives.push(
      isText
        ? text(string)
        : { kind: "binary", data: data as Uint8Array<ArrayBuffer> },
    );
  }
  return { frames, gives };
}

function randomParts(bytes: Uint8Array, random: (below: number) => number) {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + random(random(2) ? 8 : 300));
    parts.push(bytes.subarray(at, end));
    at = end;
  }
  return parts;
}

describe("FrameDecoder and random bytes", () => {
  const seed = Number(Deno.env.get("SLUICE_SEED") ?? 7);
  const runs = Deno.env.get("SLUICE_SOAK") ? 100_000 : 2000;

  it(`reads ${runs} random runs of messages, cut anywhere (seed ${seed})`, () => {
    const random = randomOf(seed);
    for (let i = 0; i < runs; i++) {
      const { frames, gives } = randomMessages(random);
      const parts = randomParts(bytesOf(frames), random);
      const { received, code } = decode(parts);
      assertEquals([received, code], [gives, undefined], `run ${i}`);
    }
  });

  it("gives one answer to bytes that somebody has changed, however they are cut", () => {
    const random = randomOf(seed + 1);
    let errors = 0;
    for (let i = 0; i < runs; i++) {
      const bytes = bytesOf(randomMessages(random).frames);
      for (let n = 1 + random(3); n > 0; n--) {
        bytes[random(bytes.length)] = random(256);
      }
      const whole = decode([bytes]);
      const cut = decode(randomParts(bytes, random));
      assertEquals(
        [cut.received, cut.code],
        [whole.received, whole.code],
        `run ${i}`,
      );
      if (whole.code !== undefined) errors++;
    }
    if (errors < runs / 4) throw new Error(`only ${errors} errors`);
  });
});

describe("what we send", () => {
  it("has the shortest length, and no mask", () => {
    const heads = [0, 125, 126, 65535, 65536].map((n) => {
      const frame = encodeFrame(OPCODE.binary, new Uint8Array(n).fill(7));
      assertEquals(
        frame.subarray(-n || frame.length),
        new Uint8Array(n).fill(7),
      );
      return [...frame.subarray(0, frame.length - n)];
    });
    assertEquals(heads, [
      [0x82, 0],
      [0x82, 125],
      [0x82, 126, 0, 126],
      [0x82, 126, 255, 255],
      [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0],
    ]);
  });

  it("closes with a code and a reason, or without", () => {
    assertEquals([...encodeClose(CLOSE.goingAway, utf8.encode("bye"))], [
      0x88,
      5,
      3,
      233,
      98,
      121,
      101,
    ]);
    assertEquals([...encodeClose(CLOSE.noCode)], [0x88, 0]);
  });

  it("isCloseCode() takes whole numbers only", () => {
    assertEquals([isCloseCode(1000.5), isCloseCode(NaN)], [false, false]);
  });
});

describe("unmask()", () => {
  it("is its own inverse, wherever the bytes lie in memory and in the payload", () => {
    const mask = new Uint8Array([1, 2, 4, 8]);
    for (let offset = 0; offset < 8; offset++) {
      for (let from = 0; from < 5; from++) {
        for (const size of [0, 1, 63, 64, 65, 66, 67, 200]) {
          const bytes = new Uint8Array(
            new ArrayBuffer(offset + size + 8),
            offset,
            size,
          );
          unmask(bytes, mask, from);
          const expected = Array.from(
            { length: size },
            (_, i) => mask[(from + i) % 4],
          );
          assertEquals([...bytes], expected, `${offset} ${from} ${size}`);
        }
      }
    }
  });
});
