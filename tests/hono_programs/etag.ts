import { Hono } from 'hono'
import { etag } from 'hono/etag'

const app = new Hono()

app.use('/etag/*', etag())
app.get('/etag/abc', (c) => {
  return c.text('Hono is cool')
})

export default app
