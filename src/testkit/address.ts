/** Where a server listens, TCP. */
export interface Address {
  readonly host: string
  readonly port: number
}
