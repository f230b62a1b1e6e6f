/** Milliseconds of a clock that all processes of the machine share and nobody can set. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
