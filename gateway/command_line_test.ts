import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { HELP, parseCommand, UsageError } from "./command_line.ts";

const words = (text: string) => text.split(" ").filter(Boolean);

describe("parseCommand()", () => {
  const right: [words: string, command: Record<string, unknown>][] = [
    ["", { http: [], https: [], help: false }],
    ["gateway.ts", { module: "gateway.ts" }],
    ["--http 127.0.0.1:80 --http [::1]:80", {
      http: ["127.0.0.1:80", "[::1]:80"],
    }],
    ["--http 8080 --https=:8443", {
      http: ["127.0.0.1:8080"],
      https: ["127.0.0.1:8443"],
    }],
    ["--https localhost:1 --cert a --key b", {
      https: ["localhost:1"],
      cert: ["a"],
      key: ["b"],
    }],
    ["--https 1 --cert a --key b --cert c --key d", {
      cert: ["a", "c"],
      key: ["b", "d"],
    }],
    ["--upstream http://h:3000/", { upstream: "http://h:3000" }],
    ["--workers=3 m.ts --isolates 2", {
      workers: 3,
      isolates: 2,
      module: "m.ts",
    }],
    ["--io epoll --log json", { io: "epoll", log: "json" }],
    ["-h", { help: true }],
    ["--version", { version: true }],
  ];
  for (const [text, command] of right) {
    it(`takes ${JSON.stringify(text)}`, () => {
      expect(parseCommand(words(text))).toMatchObject(command);
    });
  }

  const wrong: [words: string, reason: RegExp][] = [
    ["--htpp 1", /no option --htpp; did you mean --http\?/],
    ["--zzzzzzz", /no option --zzzzzzz; .*--help/],
    ["--http", /--http needs a value: --http ADDR/],
    ["--http=", /--http needs a value/],
    ["--http nope", /--http must be host:port.*got "nope"/],
    ["--https 1.2.3.4:99999", /port from 0 to 65535/],
    ["--workers 0", /--workers must be a number from 1 to 64 \(got "0"\)/],
    ["--workers two", /got "two"/],
    ["--isolates 17", /from 1 to 16/],
    ["--io epol", /auto, uring or epoll; did you mean epoll\?/],
    ["--log yes", /off, text or json/],
    ["--upstream h:3000", /--upstream must/],
    ["--upstream https://h", /not supported yet/],
    ["--cert a", /--cert needs --key FILE/],
    ["--key a", /--key needs --cert FILE/],
    ["--cert a --key b --cert c", /--key FILE, too \(2 --cert, 1 --key\)/],
    ["a.ts b.ts", /one MODULE only/],
    ["a.ts --upstream http://h", /cannot go together/],
    ["--help=1", /takes no value/],
  ];
  for (const [text, reason] of wrong) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseCommand(words(text))).toThrow(UsageError);
      expect(() => parseCommand(words(text))).toThrow(reason);
    });
  }
});

describe("HELP", () => {
  it("fits a screen", () => {
    const lines = HELP.split("\n");
    expect(lines.length).toBeLessThanOrEqual(30);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(
      90,
    );
  });
});
