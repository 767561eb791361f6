// What a module exports, as `deno doc` reads it.

import { capture, ROOT } from "./support.ts";

export interface JsDoc {
  doc?: string;
  tags?: { kind: string; doc?: string }[];
}

/** A place in a source; `filename` is a URL. */
export interface Place {
  filename: string;
  byteIndex: number;
}

export interface Member {
  name: string;
  jsDoc?: JsDoc;
  optional?: boolean;
  location: Place;
}

export interface Declaration {
  kind: string;
  jsDoc?: JsDoc;
  location: Place;
  def: {
    properties?: Member[];
    methods?: Member[];
    extends?: { repr: string }[];
    params?: { tsType?: { value?: { typeName?: string } } }[];
  };
}

export interface PublicSymbol {
  name: string;
  declarations: Declaration[];
}

/** The symbols of a module of the repository. */
export async function publicSymbols(file: string): Promise<PublicSymbol[]> {
  const json = await capture([
    ...[Deno.execPath(), "doc", "--json", "--no-config"],
    ...[`--import-map=${ROOT}/tools/std/offline.json`, `${ROOT}/${file}`],
  ]);
  const { nodes } = JSON.parse(json) as {
    nodes: Record<string, { symbols: PublicSymbol[] }>;
  };
  return Object.values(nodes).flatMap(({ symbols }) => symbols);
}
