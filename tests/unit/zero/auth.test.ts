import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import {
  Authenticator,
  type AuthOptions,
  withoutCredentials,
} from '../../../src/connectors/sinks/zero/auth.ts'
import { ConfigError } from '../../../src/core/error.ts'
import { Secret } from '../../../src/core/secret.ts'
import { fullLog } from '../../support/full-log.ts'

const NOW = Date.UTC(2030, 0, 1)
const JWT_SECRET = 'a secret of thirty-two bytes, yes'
const TOKENS = { production: new Secret('s3cret/+=&%'), staging: new Secret('other') }
const JWT = {
  secret: new Secret(JWT_SECRET),
  clockToleranceMs: 0,
  requireExpiry: true,
  nameClaim: 'sub',
} as const

interface Sent {
  readonly url?: string
  readonly authorization?: string
  readonly [header: string]: string | undefined
}

function request({ url = '/changes/v0/stream', ...headers }: Sent): IncomingMessage {
  const message = new IncomingMessage(new Socket())
  message.url = url
  Object.assign(message.headers, { host: 'localhost', upgrade: 'websocket', ...headers })
  return message
}

const basic = (userinfo: string) => `Basic ${Buffer.from(userinfo).toString('base64')}`
const query = (name: string, token: string) =>
  `/changes/v0/stream?appID=zero&${new URLSearchParams({ [name]: token }).toString()}`
const sign = (claims: Record<string, unknown>, secret = JWT_SECRET) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(secret))

/** The name, or the status and the reason. */
async function verdict(options: Partial<AuthOptions>, sent: Sent): Promise<string> {
  const log = fullLog()
  const authenticator = new Authenticator({ tokens: {}, ...options }, log, () => NOW)
  const result = await authenticator.authenticate(request(sent))
  const said = log.text() + JSON.stringify(result)
  for (const part of [sent.url?.split('?')[1], sent.authorization])
    if (part !== undefined && said.includes(part)) throw new Error('what was sent is in what was said')
  return result.ok ? result.identity.name : `${result.status} ${result.reason}`
}

describe('a shared token', () => {
  it.each<[string, Sent]>([
    ['k in the query', { url: query('k', 's3cret/+=&%') }],
    ['token in the query', { url: query('token', 's3cret/+=&%') }],
    ['apiKey in the query', { url: query('apiKey', 's3cret/+=&%') }],
    ['the query with a plus sign that was not encoded', { url: '/x?k=s3cret%2F+%3D%26%25' }],
    ['a bearer', { authorization: 'Bearer s3cret/+=&%' }],
    ['a bearer in lower case', { authorization: 'bearer  s3cret/+=&% ' }],
    ['the password of the URL', { authorization: basic('zero:s3cret/+=&%') }],
    ['the user of the URL', { authorization: basic('s3cret/+=&%:') }],
    ['the user of the URL, without a colon', { authorization: basic('s3cret/+=&%') }],
    [
      'a password with percent signs, as it is in a URL',
      { authorization: basic(`u:${encodeURIComponent('s3cret/+=&%')}`) },
    ],
    ['one right of several', { url: query('k', 'wrong'), authorization: 'Bearer s3cret/+=&%' }],
  ])('is taken from %s', async (_, sent) => {
    expect(await verdict({ tokens: TOKENS }, sent)).toBe('production')
  })

  it.each<[string, Sent]>([
    ['401 no token was presented', {}],
    ['401 no token was presented', { url: '/x?k=&token=' }],
    ['401 no token was presented', { url: '/x?key=other' }],
    ['401 no token was presented', { authorization: 'Digest other' }],
    ['401 no token was presented', { authorization: 'Bearer' }],
    ['401 no token was presented', { authorization: basic(':') }],
    ['401 the token is not known', { url: query('k', 's3cret') }],
    ['401 the token is not known', { url: query('k', 'S3CRET/+=&%') }],
    ['401 the token is not known', { url: query('k', 's3cret/+=&% ') }],
    ['401 the token is not known', { url: query('k', 'production') }],
    ['401 the token is not known', { authorization: 'Bearer otherother' }],
    ['401 the token is not known', { authorization: basic('other:wrong') }],
    ['401 the token is not known', { authorization: basic('u:%E0%A4%A') }],
    ['401 the token is not known', { authorization: 'Bearer a.b.c' }],
    ['401 the token is not known', { url: query('k', 'x'.repeat(8000)) }],
  ])('%s: %j', async (expected, sent) => {
    expect(await verdict({ tokens: TOKENS }, sent)).toBe(expected)
  })

  it('tells who has it', async () => {
    expect(await verdict({ tokens: TOKENS }, { url: query('k', 'other') })).toBe('staging')
  })

  it('may not be empty', () => {
    const make = () => new Authenticator({ tokens: { a: new Secret('') } }, fullLog(), () => NOW)
    expect(make).toThrow(ConfigError)
  })
})

describe('a signed token', () => {
  const exp = NOW / 1000 + 60

  it('is taken wherever a shared one is, beside shared ones', async () => {
    const token = await sign({ sub: 'me', exp })
    const options = { tokens: TOKENS, jwt: JWT }
    expect(await verdict(options, { url: query('k', token) })).toBe('me')
    expect(await verdict(options, { authorization: `Bearer ${token}` })).toBe('me')
    expect(await verdict(options, { authorization: basic(`u:${token}`) })).toBe('me')
    expect(await verdict(options, { url: query('k', 'other') })).toBe('staging')
    expect(await verdict(options, { url: query('k', 'wrong') })).toBe('401 the token is not known')
  })

  it('is taken when one of several is right, otherwise the first says why not', async () => {
    const good = await sign({ sub: 'me', exp })
    const expired = await sign({ sub: 'me', exp: 1 })
    const forged = await sign({ sub: 'me', exp }, 'another secret of thirty-two bytes')
    const options = { jwt: JWT }
    expect(await verdict(options, { url: query('k', forged), authorization: `Bearer ${good}` })).toBe('me')
    expect(await verdict(options, { url: query('k', forged), authorization: `Bearer ${expired}` })).toBe(
      '401 the token has a wrong signature',
    )
  })

  it('says until when', async () => {
    const authenticator = new Authenticator({ tokens: {}, jwt: JWT }, fullLog(), () => NOW)
    const result = await authenticator.authenticate(
      request({ url: query('k', await sign({ sub: 'me', exp })) }),
    )
    expect(result).toEqual({ ok: true, identity: { name: 'me', expiresAtMs: NOW + 60_000 } })
  })
})

describe('nothing at all', () => {
  it('is enough where nothing is asked for, or where it is allowed', async () => {
    expect(await verdict({}, {})).toBe('anonymous')
    expect(await verdict({}, { url: query('apiKey', 'whatever') })).toBe('anonymous')
    expect(await verdict({ tokens: TOKENS, anonymous: true }, {})).toBe('anonymous')
  })

  it('is better than a wrong token', async () => {
    const options = { tokens: TOKENS, anonymous: true }
    expect(await verdict(options, { url: query('k', 'wrong') })).toBe('401 the token is not known')
  })

  it.each<[string, Sent]>([
    ['403 a web page may not connect without a token', { origin: 'https://evil.example.com' }],
    ['403 a web page may not connect without a token', { origin: 'http://localhost:4848' }],
    ['403 a web page may not connect without a token', { origin: 'null' }],
    [
      '403 a request by a host name that is not localhost needs a token',
      { upgrade: undefined, host: 'evil.example.com:4850' },
    ],
    ['403 a request by a host name that is not localhost needs a token', { upgrade: undefined, host: '' }],
    ['anonymous', { upgrade: undefined, host: '127.0.0.1:4850' }],
    ['anonymous', { upgrade: undefined, host: '[::1]:4850' }],
    ['anonymous', { host: 'host.docker.internal:4850' }],
    ['anonymous', { origin: 'https://app.example.com' }],
  ])('%s: %j', async (expected, sent) => {
    expect(await verdict({ origins: ['https://app.example.com'] }, sent)).toBe(expected)
  })

  it('is not enough for a web page; a token is', async () => {
    const options = { tokens: TOKENS, anonymous: true }
    const origin = 'https://any.example.com'
    expect(await verdict(options, { origin })).toBe('403 a web page may not connect without a token')
    expect(await verdict(options, { origin, url: query('k', 'other') })).toBe('staging')
  })
})

describe('the address that is handed on', () => {
  it('holds no token any more', () => {
    const url = new URL('http://localhost/x?k=1&k=2&token=3&apiKey=4&lastWatermark=05&appID=zero')
    expect(withoutCredentials(url).href).toBe('http://localhost/x?lastWatermark=05&appID=zero')
  })
})
