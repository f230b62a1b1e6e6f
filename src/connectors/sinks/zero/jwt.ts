import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import type { Logger } from '../../../core/context.ts'
import { KeySet, KeysUnavailable } from './jwks.ts'
import { type JwtKey, jwtKey, type JwtKeyOptions } from './jwt-key.ts'

export interface JwtOptions extends JwtKeyOptions {
  /** `iss` must be this; not looked at when left out. */
  readonly issuer?: string
  /** `aud` must hold this; not looked at when left out. */
  readonly audience?: string
  /** How far the clocks may differ: a token is taken so long before `nbf` and after `exp`. Milliseconds. */
  readonly clockToleranceMs: number
  /** False: a token without `exp` is taken, and is valid for ever. */
  readonly requireExpiry: boolean
  /** The claim that names the subscriber, in logs. */
  readonly nameClaim: string
}

export type JwtVerdict =
  | { readonly ok: true; readonly name: string; readonly expiresAtMs: number | null }
  /** 503: the keys cannot be had now. The reason is one of a few fixed texts. */
  | { readonly ok: false; readonly status: 401 | 503; readonly reason: string }

/** Keys of a set that a token without `kid` may be signed with; more are not tried. */
const MAX_KEYS = 8
/** What a name may be: it is written to logs. */
const NAME = /^[^\p{C}]{1,200}$/u

/** Checks signed tokens (RFC 7519) with jose. Signature first, then the claims. */
export class JwtVerifier {
  readonly #options: JwtOptions
  readonly #key: JwtKey
  readonly #keySet: KeySet | null
  readonly #now: () => number

  /** Throws a `ConfigError` when the key is not one. */
  constructor(options: JwtOptions, log: Logger, now: () => number) {
    this.#options = options
    this.#key = jwtKey(options)
    this.#keySet = options.keySet === undefined ? null : new KeySet(options.keySet, log)
    this.#now = now
  }

  async verify(token: string): Promise<JwtVerdict> {
    const { issuer, audience, clockToleranceMs, requireExpiry, nameClaim } = this.#options
    try {
      const payload = await this.#payload(token, {
        algorithms: [...this.#key.algorithms],
        ...(issuer !== undefined && { issuer }),
        ...(audience !== undefined && { audience }),
        clockTolerance: clockToleranceMs / 1000,
        currentDate: new Date(this.#now()),
        requiredClaims: requireExpiry ? ['exp'] : [],
      })
      const name = payload[nameClaim]
      if (typeof name !== 'string' || !NAME.test(name)) return refused('the token names nobody')
      // The same moment up to which the token is taken: who is closed then is not let in again.
      const expiresAtMs = payload.exp === undefined ? null : payload.exp * 1000 + clockToleranceMs
      // jose looks at whole seconds.
      if (expiresAtMs !== null && expiresAtMs <= this.#now()) return refused('the token has expired')
      return { ok: true, name, expiresAtMs }
    } catch (error) {
      if (error instanceof KeysUnavailable)
        return { ok: false, status: 503, reason: 'the keys for tokens cannot be read' }
      return refused(reasonOf(error))
    }
  }

  close(): void {
    this.#keySet?.close()
  }

  async #payload(token: string, options: JWTVerifyOptions): Promise<JWTPayload> {
    if (this.#keySet === null) return (await jwtVerify(token, this.#key.key as Uint8Array, options)).payload
    try {
      return (await jwtVerify(token, this.#keySet.get, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      return await payloadByAny(token, error, options)
    }
  }
}

/** The token does not say which key it is signed with, and several may be it. */
async function payloadByAny(
  token: string,
  keys: errors.JWKSMultipleMatchingKeys,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  let tried = 0
  for await (const key of keys) {
    try {
      return (await jwtVerify(token, key, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      if (++tried === MAX_KEYS) break
    }
  }
  throw new errors.JWSSignatureVerificationFailed()
}

function refused(reason: string): JwtVerdict {
  return { ok: false, status: 401, reason }
}

/** One of a few fixed texts: what is in the token is never quoted. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired'
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'iss') return 'the token has the wrong issuer'
    if (error.claim === 'aud') return 'the token has the wrong audience'
    if (error.claim === 'nbf') return 'the token is not valid yet'
    if (error.claim === 'exp') return 'the token has no valid expiry'
    return 'the token has a wrong claim'
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the token has a wrong signature'
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return 'the token is signed with an algorithm that is not allowed'
  if (error instanceof errors.JWKSNoMatchingKey) return 'the token is signed with an unknown key'
  return 'the token is malformed'
}
