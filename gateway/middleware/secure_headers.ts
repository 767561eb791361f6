/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { secureHeaders as honoSecureHeaders } from "hono/secure-headers";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkEdits, checkKeys } from "../header_edits.ts";

/** What {@linkcode secureHeaders} sets: the options of Hono's own. */
export type SecureHeadersOptions = NonNullable<
  Parameters<typeof honoSecureHeaders>[0]
>;

type Fields = [name: string, value: string][];
type Policy = NonNullable<SecureHeadersOptions["contentSecurityPolicy"]>;

// Name, value, and whether it is set where nothing is said.
const FIELDS: Record<string, [name: string, value: string, on: boolean]> = {
  crossOriginEmbedderPolicy: [
    "cross-origin-embedder-policy",
    "require-corp",
    false,
  ],
  crossOriginResourcePolicy: [
    "cross-origin-resource-policy",
    "same-origin",
    true,
  ],
  crossOriginOpenerPolicy: ["cross-origin-opener-policy", "same-origin", true],
  originAgentCluster: ["origin-agent-cluster", "?1", true],
  referrerPolicy: ["referrer-policy", "no-referrer", true],
  strictTransportSecurity: [
    "strict-transport-security",
    "max-age=15552000; includeSubDomains",
    true,
  ],
  xContentTypeOptions: ["x-content-type-options", "nosniff", true],
  xDnsPrefetchControl: ["x-dns-prefetch-control", "off", true],
  xDownloadOptions: ["x-download-options", "noopen", true],
  xFrameOptions: ["x-frame-options", "SAMEORIGIN", true],
  xPermittedCrossDomainPolicies: [
    "x-permitted-cross-domain-policies",
    "none",
    true,
  ],
  xXssProtection: ["x-xss-protection", "0", true],
};

const KEYS = [
  ...Object.keys(FIELDS),
  "contentSecurityPolicy",
  "contentSecurityPolicyReportOnly",
  "permissionsPolicy",
  "reportingEndpoints",
  "reportTo",
  "removePoweredBy",
  "overwrite",
];

/**
 * Sets the fields by which a browser protects a site's users, as Hono's own `secureHeaders` does, with the same options and defaults, and removes
 * `X-Powered-By`. Native, and nothing is computed for a request; but a function in a content security policy (`NONCE`) and `overwrite: false` need
 * TypeScript.
 *
 * @example With a policy for scripts
 * ```ts
 * import { Hono } from "hono";
 * import { secureHeaders } from "sluice";
 *
 * const app = new Hono();
 * app.use(secureHeaders({
 *   contentSecurityPolicy: { defaultSrc: ["'self'"], scriptSrc: ["'self'", "https://cdn.example.org"] },
 *   xFrameOptions: "DENY",
 * }));
 * ```
 */
export function secureHeaders(
  options: SecureHeadersOptions = {},
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "secureHeaders()", problems);
  const fields = fieldsOf(options, problems);
  const response = fields && checkEdits(
    {
      set: Object.fromEntries(fields),
      remove: options.removePoweredBy ?? true ? ["x-powered-by"] : [],
    },
    "secureHeaders()",
    "response",
    problems,
  );
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "secureHeaders",
    native: response && options.overwrite !== false
      ? { op: "headers", request: [], response }
      : undefined,
    typescript: response
      ? "overwrite: false asks for each answer"
      : "its content security policy has a function",
    handler: honoSecureHeaders(options),
  });
}

// Undefined: they depend on the request.
function fieldsOf(
  options: SecureHeadersOptions,
  problems: OptionProblem[],
): Fields | undefined {
  const fields: Fields = [];
  for (const [key, [name, value, on]] of Object.entries(FIELDS)) {
    const given = (options as Record<string, unknown>)[key] ?? on;
    if (typeof given === "string" && given !== "") fields.push([name, given]);
    else if (given === true) fields.push([name, value]);
    else if (given !== false && given !== "") {
      const reason = "must be true, false or the field's value";
      problems.push({ path: `secureHeaders() ${key}`, value: given, reason });
    }
  }
  const policies = [
    ["content-security-policy", options.contentSecurityPolicy],
    [
      "content-security-policy-report-only",
      options.contentSecurityPolicyReportOnly,
    ],
  ] as const;
  let constant = true;
  for (const [name, policy] of policies) {
    if (!policy) continue;
    const value = policyText(policy);
    if (value === undefined) constant = false;
    else fields.push([name, value]);
  }
  const permissions = Object.entries(options.permissionsPolicy ?? {});
  if (permissions.length > 0) {
    const list = permissions.map(permissionText).filter((text) => text !== "");
    fields.push(["permissions-policy", list.join(", ")]);
  }
  if (options.reportingEndpoints) {
    const list = options.reportingEndpoints.map(({ name, url }) =>
      `${name}="${url}"`
    );
    fields.push(["reporting-endpoints", list.join(", ")]);
  }
  if (options.reportTo) {
    const list = options.reportTo.map((each) => JSON.stringify(each));
    fields.push(["report-to", list.join(", ")]);
  }
  return constant ? fields : undefined;
}

function policyText(policy: Policy): string | undefined {
  const directives = Object.entries(policy).map(([directive, value]) => {
    const values = [value].flat();
    const name = directive.replace(
      /[A-Z]+(?![a-z])|[A-Z]/g,
      (upper, at) => (at ? "-" : "") + upper.toLowerCase(),
    );
    return values.every((each) => typeof each === "string")
      ? [name, ...values].join(" ")
      : undefined;
  });
  return directives.includes(undefined) ? undefined : directives.join("; ");
}

function permissionText([directive, value]: [string, unknown]): string {
  const name = directive.replace(/([a-z\d])([A-Z])/g, "$1-$2").toLowerCase();
  if (typeof value === "boolean") return `${name}=${value ? "*" : "()"}`;
  if (!Array.isArray(value)) return "";
  if (value.length === 1 && value[0] === "*") return `${name}=*`;
  if (value.length === 0 || value.length === 1 && value[0] === "none") {
    return `${name}=()`;
  }
  const list = value.map((item) =>
    item === "self" || item === "src" ? item : `"${item}"`
  );
  return `${name}=(${list.join(" ")})`;
}
