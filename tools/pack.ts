// The form of dist/sluice, one file: what `deno task compile` writes, and what the launcher (native/launcher/launcher.c) and the boot script
// (tools/boot.ts) read.
//
//   launcher, an executable    page    Deno's executable    page    boot script    libgcc_s.so.1    archive    trailer
//
// The archive is a number of 4 bytes, that many bytes of a manifest (JSON), and the contents of its files one after the other.

const MAGIC = "sluice pack 1\n\0\0";
const PAGE = 4096;

export interface Packed {
  path: string;
  bytes: Uint8Array;
}

export interface Manifest {
  /** Names with their lengths, in the order of their contents. */
  files: [path: string, bytes: number][];
  /** SHA-256 of all contents. */
  sha256: string;
  /** The file that runs where the command line names none. */
  module?: string;
  /** Flags for Deno, given when the binary was made. */
  permissions: string[];
}

export async function sha256(bytes: Uint8Array): Promise<string> {
  const sum = await crypto.subtle.digest(
    "SHA-256",
    bytes as Uint8Array<ArrayBuffer>,
  );
  return Array.from(
    new Uint8Array(sum),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export async function archiveOf(
  files: readonly Packed[],
  { module, permissions }: Pick<Manifest, "module" | "permissions">,
): Promise<Uint8Array> {
  const contents = concat(files.map(({ bytes }) => bytes));
  const manifest: Manifest = {
    files: files.map(({ path, bytes }) => [path, bytes.length]),
    sha256: await sha256(contents),
    module,
    permissions,
  };
  const text = new TextEncoder().encode(JSON.stringify(manifest));
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, text.length, true);
  return concat([head, text, contents]);
}

/** Where the contents of an archive begin: what its first 4 bytes say. */
export function contentsOffset(head: Uint8Array): number {
  return 4 + new DataView(head.buffer, head.byteOffset).getUint32(0, true);
}

/** What stands before the contents. */
export function readManifest(
  archive: Uint8Array,
): { manifest: Manifest; text: Uint8Array } {
  const text = archive.subarray(4, contentsOffset(archive));
  return { manifest: JSON.parse(new TextDecoder().decode(text)), text };
}

export interface Parts {
  launcher: Uint8Array;
  deno: Uint8Array;
  boot: Uint8Array;
  libgcc: Uint8Array;
  archive: Uint8Array;
}

/** The whole file. */
export function pack(parts: Parts): Uint8Array {
  const pieces: Uint8Array[] = [];
  let at = 0;
  const put = (bytes: Uint8Array): bigint[] => {
    const place = [BigInt(at), BigInt(bytes.length)];
    for (
      const piece of [
        bytes,
        new Uint8Array((PAGE - bytes.length % PAGE) % PAGE),
      ]
    ) {
      pieces.push(piece);
      at += piece.length;
    }
    return place;
  };
  put(parts.launcher);
  const places = [parts.deno, parts.boot, parts.libgcc, parts.archive]
    .flatMap(put);
  const trailer = new Uint8Array(MAGIC.length + 8 * (places.length + 1));
  new TextEncoder().encodeInto(MAGIC, trailer);
  const view = new DataView(trailer.buffer, MAGIC.length);
  [...places, BigInt(at + trailer.length)].forEach((value, i) =>
    view.setBigUint64(8 * i, value, true)
  );
  return concat([...pieces, trailer]);
}
