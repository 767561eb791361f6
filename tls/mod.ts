/**
 * TLS policy as plain values; imports nothing of the gateway.
 *
 * @module
 */
export {
  type CertificateOptions,
  checkListenerTls,
  type ListenerTlsOptions,
  PolicyError,
} from "./policy.ts";
