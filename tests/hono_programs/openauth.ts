import { issuer } from '@openauthjs/openauth'
import { MemoryStorage } from '@openauthjs/openauth/storage/memory'
import { PasswordProvider } from '@openauthjs/openauth/provider/password'
import { PasswordUI } from '@openauthjs/openauth/ui/password'
import { createSubjects } from '@openauthjs/openauth/subject'
import * as v from 'valibot'

const subjects = createSubjects({
  user: v.object({ id: v.string() }),
})

export default issuer({
  subjects,
  storage: MemoryStorage(),
  providers: {
    password: PasswordProvider(
      PasswordUI({
        sendCode: async (email, code) => {
          console.log(email, code)
        },
      })
    ),
  },
  async allow() {
    return true
  },
  success: async (ctx, value) => {
    if (value.provider === 'password') {
      return ctx.subject('user', { id: value.email })
    }
    throw new Error('Invalid provider')
  },
})
