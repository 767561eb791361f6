/**
 * The app of the policies' bench: four native policies before a native answer.
 *
 * @module
 */
import { Hono } from "hono";
import {
  cors,
  defineGateway,
  rateLimit,
  requestId,
  respond,
  secureHeaders,
} from "sluice";

const app = new Hono();
// So much that nobody is refused: what is measured is the counting.
app.use(rateLimit({ key: "client-ip", rate: 100_000, burst: 1_000_000 }));
app.use(cors({ origin: "https://example.org" }));
app.use(requestId());
app.use(secureHeaders());
app.get("/native", respond("Hello, World!"));

const limits = { requestsPerConnMax: 1_000_000_000 };

export default defineGateway(app, { limits });
