import { Hono } from 'hono'
import { bearerAuth } from 'hono/bearer-auth'

import { except } from 'hono/combine'

const app = new Hono()

const token = 'honoiscool'

// If client is accessing public API, skip authentication.
// Otherwise, require a valid token.
app.use('/api/*', except('/api/public/*', bearerAuth({ token })))

app.get('/api/page', (c) => {
  return c.json({ message: 'You are authorized' })
})

app.get('/api/public/page', (c) => c.text('Public'))

export default app
