import { expect, it } from 'vitest'
import { closeReason } from '../../../src/connectors/sinks/zero/close-reason.ts'

it.each(['short', 'x'.repeat(500), 'ü'.repeat(500), '€'.repeat(500), `a${'😀'.repeat(500)}`])(
  'fits into a close frame',
  (text) => {
    const reason = closeReason(text)
    expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123)
    expect(text.startsWith(reason.replace(/\uFFFD$/, ''))).toBe(true)
  },
)
