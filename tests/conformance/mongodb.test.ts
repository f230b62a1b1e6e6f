import { describeSource } from '../../src/testkit/source/describe.ts'
import { needsWire } from '../support/mongo.ts'
import { mongodbHarness } from './mongodb.harness.ts'

describeSource('mongodb', mongodbHarness((await needsWire()) !== null))
