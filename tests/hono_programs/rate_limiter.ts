import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { rateLimiter } from 'hono-rate-limiter'

const app = new Hono()

  // Adding the middleware
  .use(
    rateLimiter({
      windowMs: 15 * 60 * 1000,
      limit: 3,
      standardHeaders: 'draft-6',
      keyGenerator: (c) => c.req.header('x-forwarded-for') ?? '',
    })
  )

  // Register test routes
  .get("/", (c) => c.text("Hi there!"))
  .get("/error", (c) => c.text("Error!", { status: 400 }))
  .post("/crash", () => {
    throw new HTTPException(400, { message: "Oops!" });
  });

export default app
