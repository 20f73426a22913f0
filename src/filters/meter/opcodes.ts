/**
 * Every instruction that the meter knows: name, immediates, change of the operand stack's height, weight in units of fuel.
 * One unit is about what the cheapest instruction takes; weights were measured so that no instruction takes much longer per
 * unit than another one. Sources: WebAssembly 2.0 §5.4 (instructions), proposals relaxed SIMD, tail calls, exception handling.
 */

// What follows an opcode.
/** Not known: refused. */
export const IMM_REFUSED = 0;
export const IMM_NONE = 1;
export const IMM_LOCAL = 2;
export const IMM_GLOBAL = 3;
/** Any other index. */
export const IMM_INDEX = 4;
export const IMM_MEMORY_ARGUMENT = 5;
/** A LEB128 of 32 or 64 bits. */
export const IMM_NUMBER = 6;
export const IMM_4_BYTES = 7;
export const IMM_8_BYTES = 8;
/** Handled one by one: branches, calls, bulk operations. */
export const IMM_SPECIAL = 9;
export const IMM_16_BYTES = 10;
export const IMM_LANE = 11;
export const IMM_MEMORY_ARGUMENT_LANE = 12;

/** Instructions of one prefix, by number. */
export interface OpcodeTable {
  readonly names: readonly (string | undefined)[];
  readonly immediates: Uint8Array;
  readonly heights: Int8Array;
  readonly weights: Int32Array;
}

interface Row {
  readonly immediate?: number;
  readonly height?: number;
  readonly weight?: number;
}

function defineTable(size: number, rows: readonly (readonly [first: number, names: string, row: Row])[]): OpcodeTable {
  const names = new Array<string | undefined>(size).fill(undefined);
  const immediates = new Uint8Array(size);
  const heights = new Int8Array(size);
  const weights = new Int32Array(size);
  for (const [first, list, row] of rows) {
    let opcode = first;
    for (const name of list.split(/\s+/)) {
      // "-" is a number that no instruction has.
      if (name !== "-") {
        names[opcode] = name;
        immediates[opcode] = row.immediate ?? IMM_NONE;
        heights[opcode] = row.height ?? 0;
        weights[opcode] = row.weight ?? 1;
      }
      opcode++;
    }
  }
  return { names, immediates, heights, weights };
}

export const F32_CONST = 0x43;
/** Behind 0xfc. */
export const TABLE_GROW = 15;
/** Behind 0xfc, what changes tables or segments: `data.drop`, `table.init`, `elem.drop`, `table.copy`, `table.grow`, `table.fill`. */
export const TOUCHING: ReadonlySet<number> = new Set([9, 12, 13, 14, 15, 17]);

/** Weights that are not a matter of the opcode alone. */
export const WEIGHTS = {
  /** A call of an imported function, directly or when the module has one in a table. */
  hostCall: 200,
} as const;

const unary: Row = {};
const binary: Row = { height: -1 };
const divide: Row = { height: -1, weight: 8 };
const root: Row = { weight: 8 };
const round: Row = { weight: 2 };
const special: Row = { immediate: IMM_SPECIAL };
const load: Row = { immediate: IMM_MEMORY_ARGUMENT, weight: 2 };
const store: Row = { immediate: IMM_MEMORY_ARGUMENT, height: -2, weight: 2 };

/** Instructions of one byte. */
export const PLAIN: OpcodeTable = defineTable(256, [
  [0x00, "unreachable", special],
  [0x01, "nop", {}],
  [0x02, "block loop if else try catch", special],
  [0x08, "throw rethrow throw_ref", { immediate: IMM_SPECIAL, weight: 3000 }],
  [0x0b, "end br br_if br_table return", special],
  [0x10, "call", { immediate: IMM_SPECIAL, weight: 4 }],
  [0x11, "call_indirect", { immediate: IMM_SPECIAL, weight: 8 }],
  [0x12, "return_call", { immediate: IMM_SPECIAL, weight: 4 }],
  [0x13, "return_call_indirect", { immediate: IMM_SPECIAL, weight: 8 }],
  [0x18, "delegate catch_all", special],
  [0x1a, "drop", { height: -1 }],
  [0x1b, "select", { height: -2 }],
  [0x1c, "select_t", special],
  [0x1f, "try_table", special],
  [0x20, "local.get", { immediate: IMM_LOCAL, height: 1 }],
  [0x21, "local.set", { immediate: IMM_LOCAL, height: -1 }],
  [0x22, "local.tee", { immediate: IMM_LOCAL }],
  [0x23, "global.get", { immediate: IMM_GLOBAL, height: 1 }],
  [0x24, "global.set", { immediate: IMM_GLOBAL, height: -1 }],
  [0x25, "table.get", { immediate: IMM_INDEX, weight: 12 }],
  [0x26, "table.set", { immediate: IMM_INDEX, height: -2, weight: 12 }],
  [0x28, "i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u", load],
  [0x30, "i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u", load],
  [0x36, "i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32", store],
  [0x3f, "memory.size", { immediate: IMM_SPECIAL, height: 1 }],
  [0x40, "memory.grow", { immediate: IMM_SPECIAL, weight: 2000 }],
  [0x41, "i32.const i64.const", { immediate: IMM_NUMBER, height: 1 }],
  [0x43, "f32.const", { immediate: IMM_4_BYTES, height: 1 }],
  [0x44, "f64.const", { immediate: IMM_8_BYTES, height: 1 }],
  [0x45, "i32.eqz", unary],
  [0x46, "i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u", binary],
  [0x50, "i64.eqz", unary],
  [0x51, "i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u", binary],
  [0x5b, "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge", binary],
  [0x67, "i32.clz i32.ctz i32.popcnt", unary],
  [0x6a, "i32.add i32.sub i32.mul", binary],
  [0x6d, "i32.div_s i32.div_u i32.rem_s i32.rem_u", divide],
  [0x71, "i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr", binary],
  [0x79, "i64.clz i64.ctz i64.popcnt", unary],
  [0x7c, "i64.add i64.sub i64.mul", binary],
  [0x7f, "i64.div_s i64.div_u i64.rem_s i64.rem_u", divide],
  [0x83, "i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr", binary],
  [0x8b, "f32.abs f32.neg", unary],
  [0x8d, "f32.ceil f32.floor f32.trunc f32.nearest", round],
  [0x91, "f32.sqrt", root],
  [0x92, "f32.add f32.sub f32.mul", binary],
  [0x95, "f32.div", divide],
  [0x96, "f32.min f32.max f32.copysign", { height: -1, weight: 2 }],
  [0x99, "f64.abs f64.neg", unary],
  [0x9b, "f64.ceil f64.floor f64.trunc f64.nearest", round],
  [0x9f, "f64.sqrt", root],
  [0xa0, "f64.add f64.sub f64.mul", binary],
  [0xa3, "f64.div", divide],
  [0xa4, "f64.min f64.max f64.copysign", { height: -1, weight: 2 }],
  [0xa7, "i32.wrap_i64", unary],
  [0xa8, "i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u", round],
  [0xac, "i64.extend_i32_s i64.extend_i32_u", unary],
  [0xae, "i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u", round],
  [0xb2, "f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64", round],
  [0xb7, "f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32", round],
  [0xbc, "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64", unary],
  [0xc0, "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s", unary],
  [0xd0, "ref.null", { immediate: IMM_SPECIAL, height: 1 }],
  [0xd1, "ref.is_null", unary],
  [0xd2, "ref.func", { immediate: IMM_INDEX, height: 1, weight: 4 }],
]);

const bulk: Row = { immediate: IMM_SPECIAL, height: -3, weight: 100 };

/** Instructions behind 0xfc. Bulk ones pay for their length as well, see plan.ts. */
export const MISCELLANEOUS: OpcodeTable = defineTable(18, [
  [0, "i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u", round],
  [4, "i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u", round],
  [8, "memory.init", bulk],
  [9, "data.drop", { immediate: IMM_INDEX, weight: 8 }],
  [10, "memory.copy memory.fill", bulk],
  [12, "table.init", bulk],
  [13, "elem.drop", { immediate: IMM_INDEX, weight: 8 }],
  [14, "table.copy", bulk],
  [15, "table.grow", { immediate: IMM_SPECIAL, height: -1, weight: 5000 }],
  [16, "table.size", { immediate: IMM_INDEX, height: 1 }],
  [17, "table.fill", bulk],
]);

const vectorLoad: Row = { immediate: IMM_MEMORY_ARGUMENT, weight: 3 };
const loadLane: Row = { immediate: IMM_MEMORY_ARGUMENT_LANE, height: -1, weight: 3 };
const storeLane: Row = { immediate: IMM_MEMORY_ARGUMENT_LANE, height: -2, weight: 3 };
const extract: Row = { immediate: IMM_LANE, weight: 2 };
const replace: Row = { immediate: IMM_LANE, height: -1, weight: 2 };
const vector1: Row = { weight: 2 };
const vector2: Row = { height: -1, weight: 2 };
const vector3: Row = { height: -2, weight: 3 };
const vectorDivide: Row = { height: -1, weight: 16 };
const vectorRoot: Row = { weight: 16 };

const prefixed = (shape: string, names: string): string =>
  names
    .split(" ")
    .map((name) => (name === "-" ? name : `${shape}.${name}`))
    .join(" ");
const COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const COMPARE_FLOAT = "eq ne lt gt le ge";

/** Instructions behind 0xfd: fixed-width SIMD, and relaxed SIMD from 256 on. */
export const VECTOR: OpcodeTable = defineTable(276, [
  [0, prefixed("v128", "load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u"), vectorLoad],
  [7, prefixed("v128", "load8_splat load16_splat load32_splat load64_splat"), vectorLoad],
  [11, "v128.store", { immediate: IMM_MEMORY_ARGUMENT, height: -2, weight: 3 }],
  [12, "v128.const", { immediate: IMM_16_BYTES, height: 1, weight: 2 }],
  [13, "i8x16.shuffle", { immediate: IMM_16_BYTES, height: -1, weight: 4 }],
  [14, "i8x16.swizzle", { height: -1, weight: 4 }],
  [15, "i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat", vector1],
  [21, "i8x16.extract_lane_s i8x16.extract_lane_u", extract],
  [23, "i8x16.replace_lane", replace],
  [24, "i16x8.extract_lane_s i16x8.extract_lane_u", extract],
  [26, "i16x8.replace_lane", replace],
  [27, "i32x4.extract_lane", extract],
  [28, "i32x4.replace_lane", replace],
  [29, "i64x2.extract_lane", extract],
  [30, "i64x2.replace_lane", replace],
  [31, "f32x4.extract_lane", extract],
  [32, "f32x4.replace_lane", replace],
  [33, "f64x2.extract_lane", extract],
  [34, "f64x2.replace_lane", replace],
  [35, `${prefixed("i8x16", COMPARE)} ${prefixed("i16x8", COMPARE)} ${prefixed("i32x4", COMPARE)}`, vector2],
  [65, `${prefixed("f32x4", COMPARE_FLOAT)} ${prefixed("f64x2", COMPARE_FLOAT)}`, vector2],
  [77, "v128.not", vector1],
  [78, prefixed("v128", "and andnot or xor"), vector2],
  [82, "v128.bitselect", vector3],
  [83, "v128.any_true", vector1],
  [84, prefixed("v128", "load8_lane load16_lane load32_lane load64_lane"), loadLane],
  [88, prefixed("v128", "store8_lane store16_lane store32_lane store64_lane"), storeLane],
  [92, "v128.load32_zero v128.load64_zero", vectorLoad],
  [94, "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4", vector1],
  [96, prefixed("i8x16", "abs neg popcnt all_true bitmask"), { weight: 4 }],
  [101, "i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u", vector2],
  [103, prefixed("f32x4", "ceil floor trunc nearest"), { weight: 4 }],
  [107, prefixed("i8x16", "shl shr_s shr_u"), { height: -1, weight: 6 }],
  [110, prefixed("i8x16", "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"), vector2],
  [116, "f64x2.ceil f64x2.floor", { weight: 4 }],
  [118, prefixed("i8x16", "min_s min_u max_s max_u"), vector2],
  [122, "f64x2.trunc", { weight: 4 }],
  [123, "i8x16.avgr_u", vector2],
  [124, "i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u", vector1],
  [126, "i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u", vector1],
  [128, "i16x8.abs i16x8.neg", vector1],
  [130, "i16x8.q15mulr_sat_s", vector2],
  [131, "i16x8.all_true i16x8.bitmask", vector1],
  [133, "i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u", vector2],
  [135, prefixed("i16x8", "extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u"), vector1],
  [139, prefixed("i16x8", "shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"), vector2],
  [148, "f64x2.nearest", { weight: 4 }],
  [149, prefixed("i16x8", "mul min_s min_u max_s max_u - avgr_u"), vector2],
  [156, prefixed("i16x8", "extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u"), vector2],
  [160, prefixed("i32x4", "abs neg - all_true bitmask"), vector1],
  [167, prefixed("i32x4", "extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u"), vector1],
  [171, prefixed("i32x4", "shl shr_s shr_u add - - sub - - - mul min_s min_u max_s max_u dot_i16x8_s"), vector2],
  [188, prefixed("i32x4", "extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u"), vector2],
  [192, prefixed("i64x2", "abs neg - all_true bitmask"), vector1],
  [199, prefixed("i64x2", "extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u"), vector1],
  [203, prefixed("i64x2", "shl shr_s shr_u add - - sub"), vector2],
  [213, "i64x2.mul", { height: -1, weight: 4 }],
  [214, prefixed("i64x2", "eq ne lt_s gt_s le_s ge_s"), vector2],
  [220, prefixed("i64x2", "extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u"), vector2],
  [224, "f32x4.abs f32x4.neg", vector1],
  [227, "f32x4.sqrt", vectorRoot],
  [228, prefixed("f32x4", "add sub mul"), vector2],
  [231, "f32x4.div", vectorDivide],
  [232, prefixed("f32x4", "min max pmin pmax"), vector2],
  [236, "f64x2.abs f64x2.neg", vector1],
  [239, "f64x2.sqrt", vectorRoot],
  [240, prefixed("f64x2", "add sub mul"), vector2],
  [243, "f64x2.div", vectorDivide],
  [244, prefixed("f64x2", "min max pmin pmax"), vector2],
  [248, "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u", { weight: 4 }],
  [252, "i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero", { weight: 4 }],
  [254, "f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u", { weight: 4 }],
  [256, "i8x16.relaxed_swizzle", { height: -1, weight: 4 }],
  [257, "i32x4.relaxed_trunc_f32x4_s i32x4.relaxed_trunc_f32x4_u", { weight: 4 }],
  [259, "i32x4.relaxed_trunc_f64x2_s_zero i32x4.relaxed_trunc_f64x2_u_zero", { weight: 4 }],
  [261, "f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd", vector3],
  [265, "i8x16.relaxed_laneselect i16x8.relaxed_laneselect i32x4.relaxed_laneselect i64x2.relaxed_laneselect", vector3],
  [269, "f32x4.relaxed_min f32x4.relaxed_max f64x2.relaxed_min f64x2.relaxed_max", vector2],
  [273, "i16x8.relaxed_q15mulr_s i16x8.relaxed_dot_i8x16_i7x16_s", vector2],
  [275, "i32x4.relaxed_dot_i8x16_i7x16_add_s", vector3],
]);
