/**
 * Sluice: an edge gateway that you program as a Hono app. What the app says statically runs in C at wire cost; V8 is entered only for
 * routes that need code.
 *
 * @example A gateway module: `deno task start gateway gateway.ts`
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, proxy, respond } from "sluice";
 *
 * const app = new Hono();
 * app.get("/healthz", respond("ok\n"));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!`));
 *
 * export default defineGateway(app);
 * ```
 *
 * @module
 */
export * from "./gateway/mod.ts";
export {
  type AlpnProtocol,
  type CertificateOptions,
  type ClientAuthMode,
  type ClientAuthOptions,
  type ClientHello,
  type ClientHelloAnswer,
  type ClientHelloHook,
  type ClientHelloOptions,
  type EarlyDataOptions,
  type HandshakeOptions,
  type KeyExchangeGroup,
  type ListenerTlsOptions,
  PolicyError,
  type ResumptionMode,
  type ResumptionOptions,
  type STEK,
  stekFile,
  type StekFileOptions,
  type STEKProvider,
  type TlsPolicy,
  type TlsPreset,
  type TlsVersion,
  type VersionOptions,
} from "./tls/mod.ts";
