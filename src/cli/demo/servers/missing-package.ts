/** A server cannot be started since its package is not installed or there is none for this platform. */
export class MissingPackageError extends Error {
  /** Stable and greppable. */
  readonly code: string
  readonly what: string
  readonly fix: string

  constructor(code: string, what: string, fix: string, cause?: unknown) {
    super(`${what} ${fix}`, { cause })
    this.name = 'MissingPackageError'
    this.code = code
    this.what = what
    this.fix = fix
  }
}
