import { Hono } from 'hono'
import { compress } from 'hono/compress'

const app = new Hono()

app.use(compress())

app.get('/long', (c) => c.text('Hono '.repeat(1000)))
app.get('/short', (c) => c.text('Hono'))

export default app
