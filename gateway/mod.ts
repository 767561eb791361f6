/**
 * What `mod.ts` may export from the control plane.
 *
 * @module
 */
export {
  type CloseOptions,
  type DataPlaneStats,
  defineGateway,
  Gateway,
  type GatewayStats,
  type UpstreamStats,
} from "./gateway.ts";
export type {
  CertificateStats,
  ReloadedCertificates,
} from "./live_certificates.ts";
export type {
  GatewayOptions,
  LimitOptions,
  ListenerOptions,
} from "./options.ts";
export type { UpstreamOptions } from "./upstream.ts";
export type { App } from "./app.ts";
export type { TlsClient, TlsConnection } from "./tls_connection.ts";
export type { ExplainedStep, Explanation } from "./explain.ts";
export type { ExplainedLimit } from "./explain_limits.ts";
export {
  type ErrorSource,
  GatewayError,
  type GatewayErrorInit,
  type OptionProblem,
  OptionsError,
} from "./errors.ts";
export {
  type BasicAuthStep,
  type BearerAuthStep,
  type BodyLimitStep,
  type CanaryStep,
  type ConcurrencyLimitStep,
  type CorsStep,
  defineMiddleware,
  type EarlyDataStep,
  type HeadersStep,
  type IpRestrictionStep,
  type MethodNotAllowedStep,
  type MiddlewareDefinition,
  type NativeStep,
  type PolicyBase,
  type PolicyStep,
  type PoolOptions,
  type ProxyStep,
  type RateLimitStep,
  type RequestIdStep,
  type RespondStep,
  type TimeoutStep,
  type WhoamiStep,
} from "./define_middleware.ts";
export { definePlugin } from "./plugins/plugin.ts";
export type {
  NoteProblem,
  OptionsSchema,
  Plugin,
  PluginContext,
  PluginDefinition,
  PluginParts,
  PluginRoute,
  SchemaResult,
} from "./plugins/plugin.ts";
export type {
  Asked,
  Balancer,
  PartKind,
  PartSlot,
  Store,
  StoreEntry,
} from "./plugins/parts.ts";
export type { AnyPlugin, PluginEntry, PluginLike } from "./plugins/registry.ts";
export type { PluginStats } from "./plugins/contain.ts";
export type { AddressRange, AddressSet } from "./address.ts";
export type { ClientOptions, ClientSource } from "./client_ip.ts";
export type { HeaderEdit, HeaderEdits } from "./header_edits.ts";
export { bodyLimit, type BodyLimitOptions } from "./middleware/body_limit.ts";
export { cors, type CorsOptions } from "./middleware/cors.ts";
export {
  earlyData,
  type EarlyDataRouteOptions,
} from "./middleware/early_data.ts";
export type { HashFunction, Message } from "./credentials.ts";
export type { LimitKey, NativeKey } from "./limit_key.ts";
export type { ProxyTarget } from "./proxy_target.ts";
export {
  basicAuth,
  type BasicAuthOptions,
  type BasicAuthUser,
} from "./middleware/basic_auth.ts";
export {
  bearerAuth,
  type BearerAuthOptions,
  type BearerAuthRefusal,
} from "./middleware/bearer_auth.ts";
export {
  canary,
  type CanaryMark,
  type CanaryOptions,
} from "./middleware/canary.ts";
export {
  concurrencyLimit,
  type ConcurrencyLimitOptions,
} from "./middleware/concurrency_limit.ts";
export { headers, type HeadersOptions } from "./middleware/headers.ts";
export {
  ipRestriction,
  type IpRestrictionOptions,
} from "./middleware/ip_restriction.ts";
export {
  methodNotAllowed,
  type MethodNotAllowedOptions,
} from "./middleware/method_not_allowed.ts";
export {
  type BalancedTarget,
  proxy,
  type ProxyOptions,
} from "./middleware/proxy.ts";
export { rateLimit, type RateLimitOptions } from "./middleware/rate_limit.ts";
export { redirect, type RedirectStatus } from "./middleware/redirect.ts";
export {
  requestId,
  type RequestIdOptions,
  type RequestIdVariables,
} from "./middleware/request_id.ts";
export { respond, type RespondOptions } from "./middleware/respond.ts";
export {
  secureHeaders,
  type SecureHeadersOptions,
} from "./middleware/secure_headers.ts";
export { timeout } from "./middleware/timeout.ts";
export { whoami } from "./middleware/whoami.ts";
export {
  type ServerWebSocket,
  upgradeWebSocket,
  type WebSocketOptions,
} from "./websocket.ts";
