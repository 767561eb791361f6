/**
 * TLS policy as plain values; imports nothing of the gateway.
 *
 * @module
 */
export {
  type CertificateFacts,
  certificateWarnings,
  type OcspAnswer,
  ocspRefusal,
} from "./certificate.ts";
export { PolicyError } from "./check.ts";
export type {
  ClientAuthMode,
  ClientAuthOptions,
  ClientAuthRow,
} from "./client_auth.ts";
export type {
  ClientHello,
  ClientHelloAnswer,
  ClientHelloHook,
  ClientHelloOptions,
} from "./client_hello.ts";
export {
  compileClientAuth,
  compileHandshake,
  compileResumption,
  compileSteks,
  type ResumptionRow,
  type StekPolicy,
} from "./compile.ts";
export type { CheckedEarlyData, EarlyDataOptions } from "./early_data.ts";
export {
  type AlpnProtocol,
  GROUP_NUMBERS,
  type HandshakeOptions,
  type HandshakeRow,
  type KeyExchangeGroup,
  type TlsPreset,
  type TlsVersion,
  type VersionOptions,
} from "./handshake.ts";
export {
  type CertificateOptions,
  CERTIFICATES_MAX,
  checkListenerTls,
  type ListenerTlsOptions,
  type TlsPolicy,
} from "./policy.ts";
export {
  checkSteks,
  type ResumptionMode,
  type ResumptionOptions,
  type STEK,
  type STEKProvider,
} from "./session_ticket.ts";
export { stekFile, type StekFileOptions } from "./stek_file.ts";
