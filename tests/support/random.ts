import { newRandom, type Random } from '../../src/testkit/random.ts'

export { Random } from '../../src/testkit/random.ts'

/** A generator with a new seed, or with that of SLUICE_SEED. The seed is printed. */
export function seeded(what: string): Random {
  const random = newRandom()
  console.log(`${what}: seed ${random.seed} (repeat with SLUICE_SEED=${random.seed})`)
  return random
}
