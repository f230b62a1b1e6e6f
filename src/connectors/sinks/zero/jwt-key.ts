/** Which key a token must be signed with, and the algorithms that this key serves. Nothing else is accepted. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { ConfigError } from '../../../core/error.ts'
import type { Secret } from '../../../core/secret.ts'
import type { KeySetOptions } from './jwks.ts'

export const JWT_ALGORITHMS = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number]

export interface JwtKeyOptions {
  /** What tokens may be signed with. When left out: all that the key serves. */
  readonly algorithms?: readonly JwtAlgorithm[]
  /** For HS256: at least 32 bytes. Exactly one of secret, publicKey and keySet is given. */
  readonly secret?: Secret
  /** For the others: a public key or certificate as PEM, or a JWK as JSON text. */
  readonly publicKey?: string
  /** For the others: where the issuer publishes its keys. */
  readonly keySet?: KeySetOptions
}

export interface JwtKey {
  readonly key: Uint8Array | KeyObject | KeySetOptions
  /** Never empty: names for jose, which calls the same algorithm EdDSA and Ed25519. */
  readonly algorithms: readonly string[]
}

/** RFC 7518, section 3.2: at least as long as the hash. */
const MIN_SECRET_BYTES = 32
/** RFC 7518, section 3.3. */
const MIN_RSA_BITS = 2048
const ASYMMETRIC: readonly JwtAlgorithm[] = ['RS256', 'ES256', 'EdDSA']

/** Throws a `ConfigError` when the options contradict each other or the key is not one. */
export function jwtKey(options: JwtKeyOptions): JwtKey {
  const given = [options.secret, options.publicKey, options.keySet].filter((each) => each !== undefined)
  if (given.length !== 1) {
    throw new ConfigError(
      'zero/jwt-key',
      `tokens cannot be checked: ${given.length === 0 ? 'no key is' : 'several keys are'} given`,
      { fix: 'Give exactly one of a secret, a public key and the URL of a key set.' },
    )
  }
  const [key, served] = keyOf(options)
  const wanted = options.algorithms ?? served
  const foreign = wanted.filter((each) => !served.includes(each))
  if (foreign.length > 0 || wanted.length === 0) {
    throw new ConfigError(
      'zero/jwt-algorithm',
      `tokens cannot be checked: the key does not serve ${foreign.join(', ') || 'an empty list of algorithms'}`,
      { fix: `Use ${served.join(', ')}, or another key. HS256 needs a secret, the others a public key.` },
    )
  }
  return { key, algorithms: wanted.flatMap((each) => (each === 'EdDSA' ? ['EdDSA', 'Ed25519'] : [each])) }
}

function keyOf(options: JwtKeyOptions): [JwtKey['key'], readonly JwtAlgorithm[]] {
  if (options.secret !== undefined) return [secretOf(options.secret), ['HS256']]
  if (options.keySet !== undefined) return [checked(options.keySet), ASYMMETRIC]
  const key = publicKeyOf(options.publicKey!)
  return [key, [algorithmOf(key)]]
}

function secretOf(secret: Secret): Uint8Array {
  const bytes = new TextEncoder().encode(secret.reveal())
  if (bytes.length >= MIN_SECRET_BYTES) return bytes
  throw new ConfigError('zero/jwt-key', `the secret for tokens has only ${bytes.length} bytes`, {
    fix: `Use at least ${MIN_SECRET_BYTES} random bytes, for example of \`openssl rand -base64 48\`.`,
  })
}

function checked(keySet: KeySetOptions): KeySetOptions {
  const url = URL.parse(keySet.url)
  const local = url !== null && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && local))) {
    throw new ConfigError('zero/jwt-key', 'the URL of the key set is not one that can be trusted', {
      fix: 'Use an https:// URL; http:// is accepted for this machine only.',
    })
  }
  if (url.username === '' && url.password === '') return keySet
  throw new ConfigError('zero/jwt-key', 'the URL of the key set holds a user or password', {
    fix: 'Leave it out: public keys need none.',
  })
}

function publicKeyOf(text: string): KeyObject {
  const fix = 'Give a public key (PEM, BEGIN PUBLIC KEY), a certificate, or one public JWK as JSON text.'
  try {
    const jwk = text.trimStart().startsWith('{')
      ? (JSON.parse(text) as { readonly d?: unknown; readonly k?: unknown })
      : null
    // Node derives the public key of a private one, which has no business here.
    if (text.includes('PRIVATE KEY') || jwk?.d !== undefined || jwk?.k !== undefined)
      throw new ConfigError('zero/jwt-key', 'the public key for tokens is a private one', { fix })
    return createPublicKey(jwk === null ? text : { key: jwk as never, format: 'jwk' })
  } catch (error) {
    if (error instanceof ConfigError) throw error
    // Without the cause: it may quote the key.
    throw new ConfigError('zero/jwt-key', 'the public key for tokens cannot be read', { fix })
  }
}

function algorithmOf(key: KeyObject): JwtAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return 'RS256'
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ed25519') return 'EdDSA'
  throw new ConfigError('zero/jwt-key', 'the public key for tokens is of a kind that is not supported', {
    fix: `Use RSA of at least ${MIN_RSA_BITS} bits, EC on the curve P-256, or Ed25519.`,
  })
}
