/**
 * What `mod.ts` may export from the control plane.
 *
 * @module
 */
export {
  type CloseOptions,
  defineGateway,
  Gateway,
  type GatewayStats,
  type UpstreamStats,
} from "./gateway.ts";
export type {
  GatewayOptions,
  LimitOptions,
  ListenerOptions,
} from "./options.ts";
export type { UpstreamOptions } from "./upstream.ts";
export type { App } from "./plan.ts";
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
  type BodyLimitStep,
  type ClientSource,
  type CorsStep,
  defineMiddleware,
  type IpRestrictionStep,
  type MiddlewareDefinition,
  type NativeStep,
  type PolicyStep,
  type PoolOptions,
  type ProxyStep,
  type RequestIdStep,
  type RespondStep,
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
export type { PluginEntry, PluginLike } from "./plugins/registry.ts";
export type { PluginStats } from "./plugins/contain.ts";
export type { HeaderEdits } from "./header_edits.ts";
export { bodyLimit, type BodyLimitOptions } from "./middleware/body_limit.ts";
export { cors, type CorsOptions } from "./middleware/cors.ts";
export {
  earlyData,
  type EarlyDataRouteOptions,
} from "./middleware/early_data.ts";
export { headers, type HeadersOptions } from "./middleware/headers.ts";
export {
  ipRestriction,
  type IpRestrictionOptions,
} from "./middleware/ip_restriction.ts";
export { proxy, type ProxyOptions } from "./middleware/proxy.ts";
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
export { whoami } from "./middleware/whoami.ts";
export {
  type ServerWebSocket,
  upgradeWebSocket,
  type WebSocketOptions,
} from "./websocket.ts";
