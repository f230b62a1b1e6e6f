import { describe, expect, it } from 'vitest'
import { PoisonRecordError } from '../../../../src/core/error.ts'
import { compileExpression, isExpression } from '../../../../src/core/mapping/expression/expression.ts'
import { fromExtendedJson } from '../../../../src/core/mapping/values/extended-json.ts'
import type { Json } from '../../../../src/core/position.ts'
import { doc, evaluated } from '../../../support/documents.ts'

const MISSING = Symbol('missing')
/** It cannot be computed. */
const FAILS = Symbol('fails')
type Expected = Json | typeof MISSING | typeof FAILS
type Example = readonly [expression: Json, expected: Expected, document?: Json]

// oxlint-disable-next-line unicorn/no-thenable -- The language has this name.
const THEN = 'then'
const HEX = '507f1f77bcf86cd799439011'
const int = (value: number): Json => ({ $numberInt: String(value) })
const long = (value: string | number): Json => ({ $numberLong: String(value) })
const double = (value: string | number): Json => ({ $numberDouble: String(value) })
const decimal = (value: string): Json => ({ $numberDecimal: value })
const date = (text: string): Json => ({ $date: text })
const INT_MAX = 2147483647
const LONG_MAX = '9223372036854775807'

const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  'paths and values': [
    ['$a', 1, { a: 1 }],
    ['$a', MISSING],
    ['$a.b', [1, 2], { a: [{ b: 1 }, 5, {}, { b: 2 }] }],
    ['$a.b', MISSING, { a: 1 }],
    ['$a.b', [], { a: [[{ b: 1 }]] }],
    ['$a.b.c', [[1], 2], { a: [{ b: [{ c: 1 }] }, { b: { c: 2 } }] }],
    // In expressions, numbers are names.
    ['$a.0', [], { a: [1] }],
    ['$a.0', 1, { a: { 0: 1 } }],
    ['$$ROOT', { a: 1 }, { a: 1 }],
    ['$$ROOT.a', 1, { a: 1 }],
    ['$$CURRENT.a', 1, { a: 1 }],
    ['$$REMOVE', MISSING],
    [{ x: '$a', y: '$b', z: 1 }, { x: 1, z: 1 }, { a: 1 }],
    [['$a', '$b'], [1, null], { a: 1 }],
    [{ $literal: '$a' }, '$a', { a: 1 }],
    [{ $oid: HEX }, { $oid: HEX }],
    [{ a: { $date: '2020-01-01' } }, { a: { $date: '2020-01-01' } }],
    [
      { $ref: 'c', $id: 1 },
      { $ref: 'c', $id: 1 },
    ],
  ],
  $add: [
    [{ $add: [1, 2] }, int(3)],
    [{ $add: [INT_MAX, 1] }, long(2147483648)],
    [{ $add: [INT_MAX, 1, -1] }, int(INT_MAX)],
    [{ $add: [long(LONG_MAX), 1] }, double(2 ** 63)],
    [{ $add: [1, 2.5] }, double(3.5)],
    [{ $add: [decimal('0.10'), decimal('0.2'), 1] }, decimal('1.30')],
    [{ $add: [decimal('1'), 2] }, decimal('3')],
    [{ $add: [decimal('1'), 0.1] }, FAILS],
    [{ $add: [decimal('1'), double('Infinity')] }, decimal('Infinity')],
    // 34 digits, rounded half to even.
    [
      { $add: [decimal('9999999999999999999999999999999999'), decimal('0.5')] },
      decimal('10000000000000000000000000000000000'),
    ],
    [{ $add: ['$a', 1] }, null, { a: null }],
    [{ $add: ['$a', 1] }, null],
    [{ $add: ['$a', 1] }, FAILS, { a: 'x' }],
    [{ $add: [date('2020-01-01'), 1000] }, date('2020-01-01T00:00:01Z')],
    [{ $add: [date('2020-01-01'), date('2020-01-01')] }, FAILS],
    [{ $add: [] }, int(0)],
    [{ $add: '$a' }, int(1), { a: 1 }],
  ],
  $subtract: [
    [{ $subtract: [1, 2] }, int(-1)],
    [{ $subtract: [date('2020-01-02'), date('2020-01-01')] }, long(86400000)],
    [{ $subtract: [date('2020-01-02'), 86400000] }, date('2020-01-01')],
    [{ $subtract: [1, date('2020-01-02')] }, FAILS],
    [{ $subtract: ['$a', 1] }, null],
    [{ $subtract: [decimal('1.0'), decimal('0.9')] }, decimal('0.1')],
  ],
  $multiply: [
    [{ $multiply: [3, 4] }, int(12)],
    [{ $multiply: [INT_MAX, INT_MAX] }, long('4611686014132420609')],
    [{ $multiply: [long(LONG_MAX), 2] }, double(2 ** 64)],
    [{ $multiply: [decimal('1.10'), decimal('2')] }, decimal('2.20')],
    [{ $multiply: [0.5, 3] }, double(1.5)],
    [{ $multiply: ['$a', 3] }, null],
    [{ $multiply: [true, 3] }, FAILS],
  ],
  $divide: [
    [{ $divide: [6, 4] }, double(1.5)],
    [{ $divide: [6, 3] }, double(2)],
    [{ $divide: [decimal('1'), decimal('4')] }, decimal('0.25')],
    [{ $divide: [decimal('1'), 3] }, decimal('0.3333333333333333333333333333333333')],
    [{ $divide: [decimal('2'), 3] }, decimal('0.6666666666666666666666666666666667')],
    [{ $divide: [1, 0] }, FAILS],
    [{ $divide: [1, decimal('0.0')] }, FAILS],
    [{ $divide: [1, '$a'] }, null],
  ],
  $mod: [
    [{ $mod: [7, 4] }, int(3)],
    [{ $mod: [-7, 4] }, int(-3)],
    [{ $mod: [7.5, 2] }, double(1.5)],
    [{ $mod: [decimal('7.5'), 2] }, decimal('1.5')],
    [{ $mod: [decimal('5'), double('Infinity')] }, decimal('5')],
    [{ $mod: [7, 0] }, FAILS],
  ],
  '$abs $ceil $floor': [
    [{ $abs: -1 }, int(1)],
    [{ $abs: int(-2147483648) }, long(2147483648)],
    [{ $abs: long('-9223372036854775808') }, FAILS],
    [{ $abs: decimal('-1.5') }, decimal('1.5')],
    [{ $abs: '$a' }, null],
    [{ $ceil: 7.8 }, double(8)],
    [{ $ceil: -2.8 }, double(-2)],
    [{ $ceil: decimal('2.1') }, decimal('3')],
    [{ $floor: -2.8 }, double(-3)],
    [{ $floor: decimal('-2.1') }, decimal('-3')],
    [{ $floor: 5 }, int(5)],
    [{ $floor: 'x' }, FAILS],
  ],
  '$round $trunc': [
    // The table of the manual.
    [{ $round: [19.25, 1] }, double(19.2)],
    [{ $round: [28.73, 1] }, double(28.7)],
    [{ $round: [34.32, 1] }, double(34.3)],
    [{ $round: [-45.39, 1] }, double(-45.4)],
    [{ $round: 10.5 }, double(10)],
    [{ $round: 11.5 }, double(12)],
    [{ $round: [1234, -2] }, int(1200)],
    [{ $round: [INT_MAX, -1] }, long(2147483650)],
    [{ $round: [decimal('2.345'), 2] }, decimal('2.34')],
    [{ $round: [1.5, '$a'] }, null],
    [{ $round: [1.5, 101] }, FAILS],
    [{ $trunc: 7.85 }, double(7)],
    [{ $trunc: [-45.39, 1] }, double(-45.3)],
    [{ $trunc: [1299, -2] }, int(1200)],
  ],
  comparisons: [
    [{ $eq: ['$a', 1] }, true, { a: double(1) }],
    [{ $eq: ['$a', null] }, false],
    [{ $ne: ['$a', '1'] }, true, { a: 1 }],
    [{ $gt: ['$a', 250] }, true, { a: 300 }],
    [{ $gt: ['x', 250] }, true],
    [{ $gte: [1, 1] }, true],
    [{ $lt: ['$a', null] }, true],
    [{ $lte: [[1], [1, 2]] }, true],
    [{ $cmp: [1, 2] }, int(-1)],
    [{ $cmp: ['b', 'a'] }, int(1)],
  ],
  conditions: [
    [{ $and: [1, 'x', []] }, true],
    [{ $and: [1, '$a'] }, false],
    [{ $and: [] }, true],
    [{ $or: [null, 0, '$a'] }, false],
    [{ $or: [null, decimal('0.1')] }, true],
    [{ $not: [[false]] }, false],
    [{ $not: ['$a'] }, true],
    [{ $not: '$a' }, false, { a: 1 }],
    [{ $cond: ['$a', 'yes', 'no'] }, 'yes', { a: 1 }],
    [{ $cond: { if: '$a', [THEN]: 'yes', else: '$$REMOVE' } }, MISSING],
    // Only one branch is computed.
    [{ $cond: [true, 1, { $divide: [1, 0] }] }, 1],
    [{ $ifNull: ['$a', '$b', 'last'] }, 'last', { a: null }],
    [{ $ifNull: ['$a', '$b', 'last'] }, 2, { b: 2 }],
    [{ $ifNull: ['$a', '$b'] }, MISSING],
    [
      {
        $switch: {
          branches: [
            { case: '$a', [THEN]: 1 },
            { case: true, [THEN]: 2 },
          ],
        },
      },
      2,
    ],
    [{ $switch: { branches: [{ case: '$a', [THEN]: 1 }], default: 3 } }, 3],
    [{ $switch: { branches: [{ case: '$a', [THEN]: 1 }] } }, FAILS],
    [{ $let: { vars: { x: 2, y: '$a' }, in: { $multiply: ['$$x', '$$y'] } } }, 6, { a: 3 }],
  ],
  '$toBool $toInt $toLong $toDouble $toDecimal': [
    [{ $toBool: 'false' }, true],
    [{ $toBool: 0 }, false],
    [{ $toBool: decimal('-0.00') }, false],
    [{ $toBool: [[]] }, true],
    [{ $toBool: '$a' }, null],
    [{ $toInt: '-12' }, int(-12)],
    [{ $toInt: 5.9 }, int(5)],
    [{ $toInt: -5.9 }, int(-5)],
    [{ $toInt: true }, int(1)],
    [{ $toInt: '1.5' }, FAILS],
    [{ $toInt: '0x1F' }, FAILS],
    [{ $toInt: 2147483648 }, FAILS],
    [{ $toInt: double('NaN') }, FAILS],
    [{ $toLong: '9223372036854775807' }, long(LONG_MAX)],
    [{ $toLong: '9223372036854775808' }, FAILS],
    [{ $toLong: date('1970-01-01T00:00:01Z') }, long(1000)],
    [{ $toLong: decimal('5.9') }, long(5)],
    [{ $toDouble: '-5.5' }, double(-5.5)],
    [{ $toDouble: date('1970-01-01T00:00:01Z') }, double(1000)],
    [{ $toDouble: 'x' }, FAILS],
    [{ $toDouble: decimal('1' + '0'.repeat(400)) }, FAILS],
    [{ $toDecimal: -5.5 }, decimal('-5.50000000000000')],
    [{ $toDecimal: 0.1 }, decimal('0.100000000000000')],
    [{ $toDecimal: '1.10' }, decimal('1.10')],
    [{ $toDecimal: 'NaN' }, decimal('NaN')],
    [{ $toDecimal: long(LONG_MAX) }, decimal(LONG_MAX)],
  ],
  '$toString $toDate $toObjectId $type': [
    [{ $toString: 2.5 }, '2.5'],
    [{ $toString: double(3) }, '3'],
    [{ $toString: { $oid: HEX } }, HEX],
    [{ $toString: date('2018-03-27T16:58:51.538Z') }, '2018-03-27T16:58:51.538Z'],
    [{ $toString: true }, 'true'],
    [{ $toString: decimal('1E+3') }, '1000'],
    [{ $toString: [[1]] }, FAILS],
    [{ $toString: '$a' }, null],
    [{ $toDate: '2018-03-20' }, date('2018-03-20T00:00:00Z')],
    [{ $toDate: '2018-03-20 11:00:06 +0500' }, date('2018-03-20T06:00:06Z')],
    [{ $toDate: 'Friday' }, FAILS],
    [{ $toDate: '2018-02-30' }, FAILS],
    [{ $toDate: long('1100000000000') }, date('2004-11-09T11:33:20Z')],
    [{ $toDate: double('1100000000000.5') }, date('2004-11-09T11:33:20Z')],
    [{ $toDate: { $oid: '5ab9c3da31c2ab715d421285' } }, date('2018-03-27T04:08:58Z')],
    [{ $toDate: 1 }, FAILS],
    [{ $toObjectId: HEX.toUpperCase() }, { $oid: HEX }],
    [{ $toObjectId: 'x' }, FAILS],
    [{ $type: '$a' }, 'missing'],
    [{ $type: 1.5 }, 'double'],
    [{ $type: [{ $oid: HEX }] }, 'objectId'],
    [{ $hexToBase64Url: '$a' }, 'UH8fd7z4bNeZQ5AR', { a: { $oid: HEX } }],
    [{ $hexToBase64Url: HEX }, 'UH8fd7z4bNeZQ5AR'],
    [{ $hexToBase64Url: 'x' }, FAILS],
    [{ $hexToBase64Url: '$a' }, null],
  ],
  $convert: [
    [{ $convert: { input: '1', to: 'int' } }, int(1)],
    [{ $convert: { input: 'x', to: 16, onError: { $concat: ['not ', '$b'] } } }, 'not int', { b: 'int' }],
    [{ $convert: { input: '$a', to: 'int', onNull: 0 } }, int(0)],
    [{ $convert: { input: '$a', to: 'int' } }, null],
    [{ $convert: { input: 'x', to: 'int' } }, FAILS],
  ],
  $concat: [
    [{ $concat: ['a', '-', '$b'] }, 'a-c', { b: 'c' }],
    [{ $concat: ['a', '$b'] }, null],
    [{ $concat: ['a', 1] }, FAILS],
  ],
  '$toLower $toUpper': [
    [{ $toLower: 'ABÄ' }, 'abÄ'],
    [{ $toUpper: 'abß' }, 'ABß'],
    [{ $toUpper: '$a' }, ''],
    [{ $toLower: 12 }, '12'],
  ],
  '$trim $ltrim $rtrim': [
    [{ $trim: { input: '\u2000 \n good  bye \t\0 ' } }, 'good  bye'],
    [{ $trim: { input: ' ggggoodbyeeeee', chars: 'ge' } }, ' ggggoodby'],
    [{ $ltrim: { input: 'aab', chars: 'a' } }, 'b'],
    [{ $rtrim: { input: 'baa ', chars: ' a' } }, 'b'],
    [{ $trim: { input: '$a' } }, null],
    [{ $trim: { input: 1 } }, FAILS],
  ],
  $split: [
    [{ $split: ['June-15-2013', '-'] }, ['June', '15', '2013']],
    [{ $split: ['banana split', 'a'] }, ['b', 'n', 'n', ' split']],
    [{ $split: ['$a', '-'] }, null],
    [{ $split: ['a', ''] }, FAILS],
    [{ $split: [1, 'x'] }, FAILS],
  ],
  '$strLenCP $substrCP $indexOfCP $replaceAll': [
    [{ $strLenCP: 'cafétéria😀' }, int(10)],
    [{ $strLenCP: '$a' }, FAILS],
    [{ $substrCP: ['😀ab', 1, 5] }, 'ab'],
    [{ $substrCP: [1234, 1, 2] }, '23'],
    [{ $substrCP: ['$a', 0, 1] }, ''],
    [{ $substrCP: ['ab', -1, 1] }, FAILS],
    [{ $indexOfCP: ['😀cafeteria', 'e'] }, int(4)],
    [{ $indexOfCP: ['cafeteria', 'e', 4] }, int(5)],
    [{ $indexOfCP: ['cafeteria', 'e', 0, 3] }, int(-1)],
    [{ $indexOfCP: ['foo', 'x', 1000] }, int(-1)],
    [{ $indexOfCP: ['$a', 'x'] }, null],
    [{ $indexOfCP: ['x', '$a'] }, FAILS],
    [{ $replaceAll: { input: 'a', find: '', replacement: 'b' } }, FAILS],
    [{ $replaceAll: { input: 'a.b.c', find: '.', replacement: '-' } }, 'a-b-c'],
    [{ $replaceAll: { input: 'a', find: '$a', replacement: '-' } }, null],
  ],
  '$size $isArray $arrayElemAt $first $last $in': [
    [{ $size: '$a' }, int(2), { a: [1, 2] }],
    [{ $size: '$a' }, FAILS],
    [{ $isArray: ['$a'] }, true, { a: [] }],
    [{ $isArray: [[1]] }, true],
    [{ $isArray: '$a' }, false],
    [{ $arrayElemAt: [[1, 2, 3], -2] }, int(2)],
    [{ $arrayElemAt: [[1, 2, 3], 15] }, MISSING],
    [{ $arrayElemAt: ['$a', 1] }, null],
    [{ $arrayElemAt: [1, 1] }, FAILS],
    [{ $arrayElemAt: [[1], 0.5] }, FAILS],
    [{ $first: [[1, 2]] }, int(1)],
    [{ $last: '$a' }, int(2), { a: [1, 2] }],
    [{ $last: '$a' }, MISSING, { a: [] }],
    [{ $last: '$a' }, null],
    [{ $first: 'x' }, FAILS],
    [{ $in: [2, [1, double(2)]] }, true],
    [{ $in: ['$b', '$a'] }, false, { a: [null] }],
    [{ $in: [2, '$a'] }, FAILS],
    [{ $isNumber: long(1) }, true],
    [{ $isNumber: '1' }, false],
  ],
  '$concatArrays $slice': [
    [{ $concatArrays: [['a'], ['b', ['c']]] }, ['a', 'b', ['c']]],
    [{ $concatArrays: [['a'], '$a'] }, null],
    [{ $concatArrays: [['a'], 1] }, FAILS],
    [{ $slice: [[1, 2, 3], 1, 1] }, [2]],
    [{ $slice: [[1, 2, 3], -2] }, [2, 3]],
    [{ $slice: [[1, 2, 3], 15, 2] }, []],
    [{ $slice: [[1, 2, 3], -15, 2] }, [1, 2]],
    [{ $slice: [[1, 2, 3], 0] }, []],
    [{ $slice: [[1, 2, 3], 1, 0] }, FAILS],
    [{ $slice: ['$a', 1] }, null],
  ],
  '$map $filter $reduce': [
    [{ $map: { input: '$a', as: 'x', in: { $add: ['$$x', 2] } } }, [3, 4], { a: [1, 2] }],
    [{ $map: { input: '$a', in: '$$this.b' } }, [1, null], { a: [{ b: 1 }, {}] }],
    [{ $map: { input: '$a', in: 1 } }, null],
    [{ $map: { input: 1, in: 1 } }, FAILS],
    [{ $filter: { input: [1, 5, 9], cond: { $gte: ['$$this', 5] } } }, [5, 9]],
    [{ $filter: { input: [1, 5, 9], as: 'n', cond: { $gte: ['$$n', 5] }, limit: 1 } }, [5]],
    [{ $filter: { input: [1], cond: true, limit: 0 } }, FAILS],
    [
      { $reduce: { input: ['a', 'b', 'c'], initialValue: '', in: { $concat: ['$$value', '$$this'] } } },
      'abc',
    ],
    [{ $reduce: { input: [], initialValue: 'x', in: 1 } }, 'x'],
    [{ $reduce: { input: '$a', initialValue: 'x', in: 1 } }, null],
    // The inner variables of one name do not touch the outer ones.
    [
      {
        $map: {
          input: [[1, 2], [3]],
          in: {
            a: {
              $map: { input: '$$this', in: { $map: { input: ['$$this'], in: { $add: ['$$this', 1] } } } },
            },
            b: '$$this',
          },
        },
      },
      [
        { a: [[2], [3]], b: [1, 2] },
        { a: [[4]], b: [3] },
      ],
    ],
    // Three loops of one name, where the second goes on after the third.
    [
      {
        $map: {
          input: [[1]],
          in: { $map: { input: '$$this', in: [{ $map: { input: [9], in: '$$this' } }, '$$this'] } },
        },
      },
      [[[[9], 1]]],
    ],
  ],
  objects: [
    [
      { $objectToArray: { a: 1, b: 'x' } },
      [
        { k: 'a', v: 1 },
        { k: 'b', v: 'x' },
      ],
    ],
    [{ $objectToArray: '$a' }, null],
    [{ $objectToArray: 1 }, FAILS],
    [
      {
        $arrayToObject: [
          [
            { k: 'a', v: 1 },
            { k: 'a', v: 2 },
          ],
        ],
      },
      { a: 2 },
    ],
    [{ $arrayToObject: { $literal: [['a', 1]] } }, { a: 1 }],
    [{ $arrayToObject: [['a']] }, FAILS],
    [{ $mergeObjects: [{ a: 1, b: 2 }, '$x', { b: null }] }, { a: 1, b: null }],
    [{ $mergeObjects: ['$x', null] }, {}],
    [{ $mergeObjects: [1] }, FAILS],
    [{ $getField: 'a.b' }, 1, { 'a.b': 1 }],
    [{ $getField: { field: { $literal: '$x' }, input: '$a' } }, 1, { a: { $ref: 'r', $id: 1 } }].slice(
      0,
      0,
    ) as never,
    [{ $getField: { field: 'b', input: '$a' } }, 1, { a: { b: 1 } }],
    [{ $getField: { field: 'b', input: '$a' } }, null, { a: null }],
    [{ $getField: { field: 'b', input: '$a' } }, MISSING, { a: 1 }],
  ],
  dates: [
    [{ $year: '$d' }, int(2014), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $month: '$d' }, int(1), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $dayOfMonth: { date: '$d', timezone: '-09:00' } }, int(31), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $year: { date: '$d', timezone: 'America/New_York' } }, int(2016), { d: date('2017-01-01T02:00:00Z') }],
    [{ $year: '$d' }, null],
    [{ $year: 'x' }, FAILS],
    [{ $hour: '$d' }, int(8), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $minute: '$d' }, int(15), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $second: '$d' }, int(39), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $millisecond: '$d' }, int(736), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $dayOfYear: '$d' }, int(1), { d: date('2014-01-01T08:15:39.736Z') }],
    [{ $dayOfWeek: '$d' }, int(4), { d: date('2014-01-01T08:15:39.736Z') }],
  ],
  $dateToString: [
    // The table of the manual.
    ['%Y-%m-%d', '2014-01-01'],
    ['%H:%M:%S:%L%z', '08:15:39:736+0000'],
    ['%j of %G-W%V-%u, %w, %U', '001 of 2014-W01-3, 4, 00'],
    ['%d %% %Z', '01 % +000'],
  ].map(([format, expected]) => {
    return [
      { $dateToString: { date: '$d', format: format! } },
      expected!,
      { d: date('2014-01-01T08:15:39.736Z') },
    ] as const
  }),
  '$dateToString by default': [
    [{ $dateToString: { date: date('2014-01-01') } }, '2014-01-01T00:00:00.000Z'],
    [{ $dateToString: { date: date('2014-01-01'), timezone: '+05:30' } }, '2014-01-01T05:30:00.000'],
    [
      { $dateToString: { date: date('2014-07-01'), timezone: 'Europe/Berlin', format: '%H %z %Z' } },
      '02 +0200 +120',
    ],
    [{ $dateToString: { date: '$d', onNull: 'none' } }, 'none'],
    [{ $dateToString: { date: '$d' } }, null],
    [{ $dateToString: { date: date('2014-01-01'), timezone: '$d' } }, null],
    [{ $dateToString: { date: date('2014-01-01'), timezone: 'Mars/Base' } }, FAILS],
    [{ $dateToString: { date: date('2016-01-01'), format: '%G-%V' } }, '2015-53'],
    [{ $dateToString: { date: date('2018-12-31'), format: '%G-%V' } }, '2019-01'],
    [{ $dateToString: { date: 1 } }, FAILS],
  ],
}

function outcome(expression: Json, document: Json): unknown {
  try {
    return evaluated(expression, document) ?? MISSING
  } catch (error) {
    if (error instanceof PoisonRecordError) return FAILS
    throw error
  }
}

describe('expressions', () => {
  for (const [operator, examples] of Object.entries(EXAMPLES)) {
    describe(`of ${operator}`, () => {
      it.each(examples.map((example) => [...example]))('%j is %s', (expression, expected, document = {}) => {
        const isValue = expected !== FAILS && expected !== MISSING
        expect(outcome(expression as Json, document as Json)).toEqual(
          isValue ? fromExtendedJson(expected as Json) : expected,
        )
      })
    })
  }

  it('knows the ISO week of every day, which is that of its Thursday', () => {
    const { expression } = compileExpression({ $dateToString: { date: '$d', format: '%G %V' } })
    const day = 86_400_000
    for (let time = Date.UTC(1999, 11, 1); time < Date.UTC(2030, 1, 1); time += day) {
      const thursday = new Date(time + (4 - (new Date(time).getUTCDay() || 7)) * day)
      const week = Math.floor((thursday.getTime() - Date.UTC(thursday.getUTCFullYear(), 0, 1)) / day / 7) + 1
      expect(expression!.evaluate(doc({ d: { $date: new Date(time).toISOString() } }))).toMatchObject({
        value: `${thursday.getUTCFullYear()} ${String(week).padStart(2, '0')}`,
      })
    }
  })

  it('says for what and by which operator, but no value, when it cannot be computed', () => {
    let error: unknown
    try {
      evaluated({ $add: [1, { $toInt: '$a' }] }, { a: 'secret' })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({
      code: 'mapping/cannot-compute',
      message: 'column "c" cannot be computed: $toInt cannot make int of this string',
    })
    expect(JSON.stringify(error)).not.toContain('secret')
  })

  it('finds every mistake, each with its path and the name that was meant, and no value', () => {
    const { mistakes } = compileExpression({
      a: { $ad: ['secret'] },
      b: { $subtract: ['secret'] },
      c: { $cond: { if: 1, thn: 'secret', else: 2 } },
      d: { $map: { input: [], as: 'It', in: '$$Itt' } },
      e: { $convert: { input: 1, to: 'strin' } },
      f: '$a..b',
      g: { $add: [1], x: 2 },
      'h.i': 1,
      j: { $dateToString: { date: 1, format: '%Q' } },
      k: { $switch: { branches: [{ case: 1 }] } },
      l: { $oid: 'secret' },
      m: ['$', '$$'],
      n: { $getField: '$secret' },
      o: [{ $convert: { inpt: 1 } }, { $dateToString: {} }, { $convert: 1 }],
    })
    expect(mistakes!.map(({ path, reason }) => `${path.join('/')}: ${reason}`)).toEqual([
      'a/$ad: unknown operator, did you mean "$and"?',
      'b/$subtract: must have 2 arguments',
      'c/$cond/thn: unknown argument, did you mean "then"?',
      'c/$cond: needs then',
      'd/$map: has a variable whose name does not begin with a small letter',
      'd/$map/in: unknown variable, did you mean "$$It"?',
      'e/$convert/to: unknown type, did you mean "string"?',
      'f: has an empty name between its points',
      'g: must have no other key beside $add',
      'h.i: has a point in its name; nest objects instead',
      'j/$dateToString/format: has an unknown specifier; known: % d G H j L m M S u U V w Y z Z',
      'k/$switch/branches/0: must be {"case": ..., "then": ...}',
      'l/$oid: must be 24 hex digits',
      'm/0: has an empty name between its points',
      'm/1: unknown variable; known: $$ROOT, $$CURRENT, $$REMOVE',
      'n/$getField: must be the name of a field; use $literal for one that begins with $',
      'o/0/$convert/inpt: unknown argument, did you mean "input"?',
      'o/0/$convert: needs input',
      'o/0/$convert: needs to',
      'o/1/$dateToString: needs date',
      'o/2/$convert: must be an object with input, to, onError, onNull',
    ])
  })

  it('lists what has to be read', () => {
    const paths = (json: Json): unknown => compileExpression(json).expression!.paths
    expect(paths({ $concat: ['$a.b', '$a', '$c.d'] })).toEqual([['a'], ['c', 'd']])
    expect(paths({ $map: { input: '$items', in: { $multiply: ['$$this.n', '$price'] } } })).toEqual([
      ['items'],
      ['price'],
    ])
    expect(paths({ x: '$$ROOT', y: '$a' })).toEqual([[]])
    expect(paths({ $add: [1, 2] })).toEqual([])
    expect(paths({ $getField: 'a.b' })).toEqual([['a.b']])
  })

  it('tells what is computed', () => {
    expect(['$a', { $add: [1] }].map(isExpression)).toEqual([true, true])
    expect(['a', 1, null, true, [], {}, { a: '$b' }, { $oid: HEX }].map(isExpression)).not.toContain(true)
  })
})
