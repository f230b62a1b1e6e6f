import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { JwtVerifier, type JwtOptions } from '../../../src/connectors/sinks/zero/jwt.ts'
import { ConfigError } from '../../../src/core/error.ts'
import { Secret } from '../../../src/core/secret.ts'
import { fullLog } from '../../support/full-log.ts'

const NOW = Date.UTC(2030, 0, 1)
const SECRET = 'a secret of thirty-two bytes, yes'
const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 })
const EC = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ED = generateKeyPairSync('ed25519')
const REST = { clockToleranceMs: 0, requireExpiry: true, nameClaim: 'sub' } as const
const BY_SECRET: JwtOptions = { ...REST, secret: new Secret(SECRET) }

const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }) as string
const byKey = (key: KeyObject): JwtOptions => ({ ...REST, publicKey: pem(key) })
const secretBytes = (text = SECRET) => new TextEncoder().encode(text)
const seconds = (ms: number) => ms / 1000
const CLAIMS: JWTPayload = { sub: 'zero-cache-1', exp: seconds(NOW) + 60 }

function sign(
  alg: string,
  key: KeyObject | Uint8Array,
  claims: JWTPayload = CLAIMS,
  kid?: string,
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, ...(kid !== undefined && { kid }) }).sign(key)
}

function verifier(options: JwtOptions, log = fullLog()): JwtVerifier {
  return new JwtVerifier(options, log, () => NOW)
}

const refusal = async (options: JwtOptions, token: string) => {
  const verdict = await verifier(options).verify(token)
  return verdict.ok ? 'accepted' : `${verdict.status} ${verdict.reason}`
}

describe('a signed token', () => {
  it.each([
    ['HS256', BY_SECRET, secretBytes()],
    ['RS256', byKey(RSA.publicKey), RSA.privateKey],
    ['ES256', byKey(EC.publicKey), EC.privateKey],
    ['EdDSA', byKey(ED.publicKey), ED.privateKey],
    ['Ed25519', byKey(ED.publicKey), ED.privateKey],
  ])('of %s names the subscriber and says until when', async (alg, options, key) => {
    expect(await verifier(options).verify(await sign(alg, key))).toEqual({
      ok: true,
      name: 'zero-cache-1',
      expiresAtMs: NOW + 60_000,
    })
  })

  it.each([
    ['HS256', BY_SECRET, secretBytes('another secret of thirty-two bytes')],
    ['RS256', byKey(RSA.publicKey), generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['ES256', byKey(EC.publicKey), generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
    ['EdDSA', byKey(ED.publicKey), generateKeyPairSync('ed25519').privateKey],
  ])('of %s that somebody else signed is refused', async (alg, options, key) => {
    expect(await refusal(options, await sign(alg, key))).toBe('401 the token has a wrong signature')
  })

  it('is refused when a byte of its claims was changed', async () => {
    const [header, , signature] = (await sign('HS256', secretBytes())).split('.')
    const claims = Buffer.from(JSON.stringify({ ...CLAIMS, sub: 'root' })).toString('base64url')
    expect(await refusal(BY_SECRET, `${header}.${claims}.${signature}`)).toBe(
      '401 the token has a wrong signature',
    )
  })

  it('is refused when it is not signed at all', async () => {
    const unsigned = new UnsecuredJWT(CLAIMS).encode()
    for (const options of [BY_SECRET, byKey(RSA.publicKey)])
      expect(await refusal(options, unsigned)).toMatch(/^401 /)
    const [, claims] = unsigned.split('.')
    for (const alg of ['none', 'None', 'NONE', '']) {
      const header = Buffer.from(JSON.stringify({ alg })).toString('base64url')
      expect(await refusal(BY_SECRET, `${header}.${claims}.`)).toMatch(/^401 /)
    }
  })

  it('cannot turn a public key into a secret', async () => {
    const text = pem(RSA.publicKey)
    const forged = await sign('HS256', secretBytes(text))
    expect(await refusal(byKey(RSA.publicKey), forged)).toBe(
      '401 the token is signed with an algorithm that is not allowed',
    )
  })

  it('is refused with an algorithm that is not in the list, although the key would serve it', async () => {
    const token = await sign('RS512', RSA.privateKey)
    expect(await refusal(byKey(RSA.publicKey), token)).toMatch(/algorithm that is not allowed$/)
    expect(await refusal(BY_SECRET, await sign('HS512', secretBytes(SECRET.repeat(2))))).toMatch(
      /not allowed$/,
    )
  })

  it.each<[string, Readonly<Record<string, unknown>>, Partial<JwtOptions>]>([
    ['401 the token has expired', { exp: seconds(NOW) - 1 }, {}],
    ['401 the token has expired', { exp: seconds(NOW) }, {}],
    ['401 the token is not valid yet', { nbf: seconds(NOW) + 1 }, {}],
    ['401 the token has no valid expiry', { exp: undefined }, {}],
    ['401 the token has the wrong issuer', { iss: 'b' }, { issuer: 'a' }],
    ['401 the token has the wrong issuer', {}, { issuer: 'a' }],
    ['401 the token has the wrong audience', { aud: ['b', 'c'] }, { audience: 'a' }],
    ['401 the token has the wrong audience', {}, { audience: 'a' }],
    ['401 the token names nobody', { sub: undefined }, {}],
    ['401 the token names nobody', { sub: 'a\nforged log line' }, {}],
    ['401 the token names nobody', {}, { nameClaim: 'client' }],
  ])('is refused: %s %j', async (expected, claims, options) => {
    const token = await sign('HS256', secretBytes(), { ...CLAIMS, ...claims } as JWTPayload)
    expect(await refusal({ ...BY_SECRET, ...options }, token)).toBe(expected)
  })

  it('is taken when issuer, audience and name are as asked for', async () => {
    const token = await sign('HS256', secretBytes(), { ...CLAIMS, iss: 'a', aud: ['x', 'b'], client: 'me' })
    const options = { ...BY_SECRET, issuer: 'a', audience: 'b', nameClaim: 'client' }
    expect(await verifier(options).verify(token)).toMatchObject({ ok: true, name: 'me' })
  })

  it('is taken as long as the clocks may differ, and expires only then', async () => {
    const options = { ...BY_SECRET, clockToleranceMs: 5000 }
    const late = await sign('HS256', secretBytes(), { ...CLAIMS, exp: seconds(NOW) - 4 })
    expect(await verifier(options).verify(late)).toMatchObject({ ok: true, expiresAtMs: NOW + 1000 })
    const early = await sign('HS256', secretBytes(), { ...CLAIMS, nbf: seconds(NOW) + 4 })
    expect(await verifier(options).verify(early)).toMatchObject({ ok: true })
  })

  it('without expiry is taken where that is allowed', async () => {
    const token = await sign('HS256', secretBytes(), { sub: 'a' })
    const options = { ...BY_SECRET, requireExpiry: false }
    expect(await verifier(options).verify(token)).toEqual({ ok: true, name: 'a', expiresAtMs: null })
  })

  it.each([
    ['empty', ''],
    ['dots', '..'],
    ['no base64', 'ä.ö.ü'],
    ['no JSON', 'a.b.c'],
    ['empty objects', 'e30.e30.e30'],
    ['long', `${'x'.repeat(10_000)}.a.b`],
  ])('is refused when it is none: %s', async (_, token) => {
    expect(await refusal(BY_SECRET, token)).toMatch(/^401 /)
    expect(await refusal(byKey(EC.publicKey), token)).toMatch(/^401 /)
  })
})

describe('the key for tokens', () => {
  const keySet = (url: string) => ({ url, timeoutMs: 1, cooldownMs: 1, maxAgeMs: 1 })

  it('is taken as a JWK, and then needs no name', async () => {
    const jwk = JSON.stringify(await exportJWK(EC.publicKey))
    const token = await sign('ES256', EC.privateKey, CLAIMS, 'any')
    expect(await verifier({ ...REST, publicKey: jwk }).verify(token)).toMatchObject({ ok: true })
  })

  it.each<[string, JwtOptions]>([
    ['no key', REST],
    ['two keys', { ...BY_SECRET, publicKey: pem(RSA.publicKey) }],
    ['a short secret', { ...REST, secret: new Secret('0nly 31 bytes long, not any mor') }],
    ['an asymmetric algorithm with a secret', { ...BY_SECRET, algorithms: ['HS256', 'RS256'] }],
    ['HS256 with a public key', { ...byKey(RSA.publicKey), algorithms: ['HS256'] }],
    ['HS256 with a key set', { ...REST, keySet: keySet('https://a/b'), algorithms: ['HS256', 'RS256'] }],
    ['an algorithm of another kind of key', { ...byKey(RSA.publicKey), algorithms: ['ES256'] }],
    ['an empty list of algorithms', { ...byKey(RSA.publicKey), algorithms: [] }],
    ['a short RSA key', byKey(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)],
    ['another curve', byKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)],
    [
      'a private key',
      { ...REST, publicKey: ED.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string },
    ],
    ['a private JWK', { ...REST, publicKey: JSON.stringify(ED.privateKey.export({ format: 'jwk' })) }],
    ['nonsense', { ...REST, publicKey: 'nonsense' }],
    ['broken JSON', { ...REST, publicKey: '{"kty":' }],
    ['a key set without encryption', { ...REST, keySet: keySet('http://keys.example.com/jwks') }],
    ['a key set with a password', { ...REST, keySet: keySet('https://u:hunter2@keys.example.com/jwks') }],
    ['a key set that is no URL', { ...REST, keySet: keySet('hunter2') }],
  ])('is refused at the start: %s', (_, options) => {
    let error: unknown
    try {
      verifier(options)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ConfigError)
    const { code, fix, message } = error as ConfigError
    expect(code).toMatch(/^zero\/jwt-(key|algorithm)$/)
    expect(fix).not.toBe('')
    expect(`${message} ${fix}`).not.toMatch(/hunter2|nonsense|0nly|PRIVATE/)
  })
})

/** An issuer that publishes its keys. */
async function issuer(): Promise<
  AsyncDisposable & { keys: object[]; answer: RequestListener | null; requests: number; readonly url: string }
> {
  const server = createServer((request, response) => {
    self.requests++
    if (self.answer !== null) return self.answer(request, response)
    response.end(JSON.stringify({ keys: self.keys }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const self = {
    keys: [] as object[],
    answer: null as RequestListener | null,
    requests: 0,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks?key=hunter2`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return self
}

const published = async (key: KeyObject, kid?: string) => ({
  ...(await exportJWK(key)),
  ...(kid !== undefined && { kid }),
})

describe('the key set of an issuer', () => {
  const by = (url: string, keySet: Partial<NonNullable<JwtOptions['keySet']>> = {}): JwtOptions => ({
    ...REST,
    keySet: { url, timeoutMs: 2000, cooldownMs: 60_000, maxAgeMs: 600_000, ...keySet },
  })

  it('is read once for many tokens of all its algorithms', async () => {
    await using server = await issuer()
    server.keys = [
      await published(RSA.publicKey, 'r'),
      await published(EC.publicKey, 'e'),
      await published(ED.publicKey, 'd'),
    ]
    const tokens = await Promise.all([
      sign('RS256', RSA.privateKey, CLAIMS, 'r'),
      sign('ES256', EC.privateKey, CLAIMS, 'e'),
      sign('EdDSA', ED.privateKey, CLAIMS, 'd'),
    ])
    const by3 = verifier(by(server.url))
    for (const token of [...tokens, ...tokens]) expect(await by3.verify(token)).toMatchObject({ ok: true })
    await Promise.all(tokens.map((token) => by3.verify(token)))
    expect(server.requests).toBe(1)
  })

  it('does not make a secret of a symmetric key that it holds', async () => {
    await using server = await issuer()
    server.keys = [{ kty: 'oct', k: Buffer.from(SECRET).toString('base64url'), kid: 's', alg: 'HS256' }]
    const verdict = await verifier(by(server.url)).verify(await sign('HS256', secretBytes(), CLAIMS, 's'))
    expect(verdict).toMatchObject({ ok: false, status: 401 })
  })

  it('is read again for a key that it did not hold: the issuer has changed its key', async () => {
    await using server = await issuer()
    server.keys = [await published(RSA.publicKey, 'old')]
    const rotating = verifier(by(server.url, { cooldownMs: 0 }))
    expect(await rotating.verify(await sign('RS256', RSA.privateKey, CLAIMS, 'old'))).toMatchObject({
      ok: true,
    })
    server.keys = [await published(EC.publicKey, 'new')]
    expect(await rotating.verify(await sign('ES256', EC.privateKey, CLAIMS, 'new'))).toMatchObject({
      ok: true,
    })
    // The former key is forgotten with that.
    expect(await rotating.verify(await sign('RS256', RSA.privateKey, CLAIMS, 'old'))).toMatchObject({
      ok: false,
      status: 401,
      reason: 'the token is signed with an unknown key',
    })
  })

  it('is not read again for every made-up key', async () => {
    await using server = await issuer()
    server.keys = [await published(RSA.publicKey, 'old')]
    const calm = verifier(by(server.url))
    for (let i = 0; i < 20; i++)
      expect(await calm.verify(await sign('RS256', RSA.privateKey, CLAIMS, `made-up-${i}`))).toMatchObject({
        status: 401,
      })
    expect(server.requests).toBe(1)
  })

  it('finds the key of a token that does not say which', async () => {
    await using server = await issuer()
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    server.keys = [await published(other.publicKey, 'a'), await published(EC.publicKey, 'b')]
    const token = await sign('ES256', EC.privateKey)
    expect(await verifier(by(server.url)).verify(token)).toMatchObject({ ok: true })
    const foreign = await sign('ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
    expect(await refusal(by(server.url), foreign)).toBe('401 the token has a wrong signature')
    const expired = await sign('ES256', EC.privateKey, { ...CLAIMS, exp: 1 })
    expect(await refusal(by(server.url), expired)).toBe('401 the token has expired')
  })

  it.each<[string, RequestListener]>([
    ['HTTP status 500', (_, response) => void response.writeHead(500).end('hunter2')],
    ['HTTP status 302', (_, response) => void response.writeHead(302, { location: '/jwks' }).end()],
    [
      'more than 262144 bytes',
      (_, response) => void response.end(`{"keys":[],"x":"${'x'.repeat(400_000)}"}`),
    ],
    ['ERR_JOSE_GENERIC', (_, response) => void response.end('hunter2')],
    ['ERR_JWKS_INVALID', (_, response) => void response.end('{"keys":"hunter2"}')],
    ['JWKSTimeout', () => {}],
    ['UND_ERR_SOCKET', (request) => void request.socket.destroy()],
  ])('says nothing about the token when it cannot be had: %s', async (reason, answer) => {
    await using server = await issuer()
    server.answer = answer
    const log = fullLog()
    const token = await sign('RS256', RSA.privateKey, CLAIMS, 'a')
    const cut = verifier(by(server.url, { timeoutMs: 200 }), log)
    expect(await cut.verify(token)).toEqual({
      ok: false,
      status: 503,
      reason: 'the keys for tokens cannot be read',
    })
    expect(log.lines[0]).toMatchObject({ level: 'warn', fields: { code: 'zero/keys-unavailable' } })
    expect(log.lines[0]!.fields['reason']).toBe(reason)
    expect(log.text()).not.toMatch(/hunter2/)
    expect(log.text()).not.toContain(token)
  })

  it('is asked once, not for each of many attempts, while it cannot be had', async () => {
    await using server = await issuer()
    server.answer = (_, response) => void response.writeHead(503).end()
    const down = verifier(by(server.url))
    const token = await sign('RS256', RSA.privateKey, CLAIMS, 'a')
    for (let i = 0; i < 20; i++) expect(await down.verify(token)).toMatchObject({ status: 503 })
    expect(server.requests).toBe(1)
  })

  it('is not waited for after the end', async () => {
    await using server = await issuer()
    server.answer = () => {}
    const closing = verifier(by(server.url, { timeoutMs: 60_000 }))
    const verdict = closing.verify(await sign('RS256', RSA.privateKey, CLAIMS, 'a'))
    closing.close()
    expect(await verdict).toMatchObject({ status: 503 })
  })
})
