/**
 * TLS policy as plain values; imports nothing of the gateway.
 *
 * @module
 */
export { type CertificateFacts, certificateWarnings } from "./certificate.ts";
export {
  type CertificateOptions,
  CERTIFICATES_MAX,
  checkListenerTls,
  type ListenerTlsOptions,
  PolicyError,
} from "./policy.ts";
