/** Who may connect. Nothing that a client sent is ever in a log line, a reason or an error. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Logger } from '../../../core/context.ts'
import { ConfigError } from '../../../core/error.ts'
import type { Secret } from '../../../core/secret.ts'
import { type JwtOptions, JwtVerifier } from './jwt.ts'

export interface AuthOptions {
  /** Shared tokens by the name of who has it. */
  readonly tokens: Readonly<Record<string, Secret>>
  readonly jwt?: JwtOptions
  /** True: who presents nothing is let in as well; by default only when there are neither tokens nor `jwt`. */
  readonly anonymous?: boolean
  /** Web pages that may connect without a token, such as `https://app.example.com`. With a token, all may. */
  readonly origins?: readonly string[]
}

export interface Identity {
  readonly name: string
  /** Milliseconds since 1970 UTC; null for never. */
  readonly expiresAtMs: number | null
}

export type AuthVerdict =
  | { readonly ok: true; readonly identity: Identity }
  /** The reason is one of a few fixed texts. */
  | { readonly ok: false; readonly status: 401 | 403 | 503; readonly reason: string }

/** zero-cache can only send a query parameter or user and password of the URL: these are the names of the parameter. */
const PARAMETERS = ['k', 'token', 'apiKey'] as const

/** Decides about a request by its shared token, its signed token or its client certificate. */
export class Authenticator {
  /** True when a request without a token is let in. */
  readonly open: boolean
  /** `anonymous` was asked for. */
  readonly anonymous: boolean
  readonly origins: readonly string[]
  readonly #tokens: readonly { readonly name: string; readonly digest: Buffer }[]
  readonly #jwt: JwtVerifier | null
  /** Of this process, so that digests tell nothing. */
  readonly #hashKey = randomBytes(32)

  /** Throws a `ConfigError` when the options are no way to check anything. */
  constructor(options: AuthOptions, log: Logger, now: () => number) {
    this.anonymous = options.anonymous ?? false
    this.origins = options.origins ?? []
    this.#tokens = Object.entries(options.tokens).map(([name, token]) => {
      if (token.reveal() === '') {
        throw new ConfigError('zero/token-empty', `the token of ${name} is empty`, {
          fix: 'Give it a value, or remove it.',
        })
      }
      return { name, digest: this.#digest(token.reveal()) }
    })
    this.#jwt = options.jwt === undefined ? null : new JwtVerifier(options.jwt, log, now)
    this.open = this.anonymous || (this.#tokens.length === 0 && this.#jwt === null)
  }

  async authenticate(request: IncomingMessage): Promise<AuthVerdict> {
    // Without anything to check tokens with, a token is no more than a parameter of somebody else's.
    const candidates = this.#tokens.length === 0 && this.#jwt === null ? [] : candidatesOf(request)
    if (candidates.length === 0) {
      if (!this.open) return { ok: false, status: 401, reason: 'no token was presented' }
      const fault = foreignPage(request, this.origins)
      if (fault !== null) return { ok: false, status: 403, reason: fault }
      return { ok: true, identity: { name: certificateName(request) ?? 'anonymous', expiresAtMs: null } }
    }
    const shared = this.#byToken(candidates)
    if (shared !== null) return { ok: true, identity: { name: shared, expiresAtMs: null } }
    return await this.#byJwt(candidates)
  }

  /** Ends requests that are under way. */
  close(): void {
    this.#jwt?.close()
  }

  /** Every candidate is compared with every token, so that the time tells nothing. */
  #byToken(candidates: readonly string[]): string | null {
    let found: string | null = null
    for (const candidate of candidates) {
      const digest = this.#digest(candidate)
      for (const token of this.#tokens) if (timingSafeEqual(digest, token.digest)) found = token.name
    }
    return found
  }

  async #byJwt(candidates: readonly string[]): Promise<AuthVerdict> {
    const jwt = this.#jwt
    const signed = candidates.filter((each) => each.split('.').length === 3)
    if (jwt === null || signed.length === 0)
      return { ok: false, status: 401, reason: 'the token is not known' }
    const verdicts = await Promise.all(signed.map((each) => jwt.verify(each)))
    const good = verdicts.find((verdict) => verdict.ok)
    if (good?.ok) return { ok: true, identity: { name: good.name, expiresAtMs: good.expiresAtMs } }
    const bad = verdicts.find((verdict) => !verdict.ok && verdict.status === 503) ?? verdicts[0]!
    return bad as AuthVerdict & { ok: false }
  }

  #digest(text: string): Buffer {
    return createHmac('sha256', this.#hashKey).update(text).digest()
  }
}

/** The query without what may be a token, for whoever handles the request further. */
export function withoutCredentials(url: URL): URL {
  const clean = new URL(url)
  for (const name of PARAMETERS) clean.searchParams.delete(name)
  return clean
}

/** Everything in the request that may be a token: several only when somebody sends several. */
function candidatesOf(request: IncomingMessage): readonly string[] {
  const query = URL.parse(request.url ?? '/', 'http://localhost')?.searchParams
  const found = new Set<string>()
  for (const name of PARAMETERS) {
    const value = query?.get(name)
    if (value === undefined || value === null || value === '') continue
    found.add(value)
    // A plus sign that was not encoded reads as a space; tokens in base64 have some.
    if (value.includes(' ')) found.add(value.replaceAll(' ', '+'))
  }
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(/ +(.*)/s)
  if (scheme.toLowerCase() === 'bearer' && value !== '') found.add(value.trim())
  if (scheme.toLowerCase() === 'basic') {
    const [, user = '', password = ''] =
      /^([^:]*):?(.*)$/s.exec(Buffer.from(value, 'base64').toString()) ?? []
    const token = password === '' ? user : password
    if (token !== '') found.add(token).add(decoded(token))
  }
  return [...found]
}

/** User and password of a URL arrive as they are written there, with their percent signs. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * Any web page may make a browser connect to this machine, under a name of its own too. Who lets in anybody does not
 * mean that: a browser always says which page opens a WebSocket, and a page that reads an answer without saying so has
 * the same name in its address as we have.
 */
function foreignPage(request: IncomingMessage, origins: readonly string[]): string | null {
  const { origin, host = '', upgrade } = request.headers
  if (origin !== undefined)
    return origins.includes(origin) ? null : 'a web page may not connect without a token'
  const name = URL.parse(`http://${host}`)?.hostname ?? ''
  const local = name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
  return upgrade !== undefined || local
    ? null
    : 'a request by a host name that is not localhost needs a token'
}

function certificateName(request: IncomingMessage): string | null {
  const { socket } = request
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' && /^[^\p{C}]{1,200}$/u.test(name) ? name : null
}
