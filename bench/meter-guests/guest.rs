// Work of the kind that filters do, for bench/meter.ts. Every export takes a number of rounds and returns a checksum.
use std::collections::HashMap;

#[no_mangle]
pub extern "C" fn empty(rounds: u32) -> u32 {
    rounds
}

const HEADERS: &str = "accept: */*\ncontent-type: application/json\nx-request-id: 0123456789abcdef\ncookie: a=1; b=2; session=abcdef0123\nuser-agent: bench/1.0 (one; two)\n";

#[no_mangle]
pub extern "C" fn headers(rounds: u32) -> u32 {
    let mut sum = 0u32;
    for _ in 0..rounds {
        let mut map: HashMap<String, String> = HashMap::new();
        for line in HEADERS.lines() {
            if let Some((name, value)) = line.split_once(": ") {
                map.insert(name.to_ascii_lowercase(), value.trim().to_string());
            }
        }
        for pair in map["cookie"].split("; ") {
            sum = sum.wrapping_add(pair.len() as u32);
        }
        sum = sum.wrapping_add(format!("{}-{}", map["x-request-id"], map.len()).len() as u32);
    }
    sum
}

fn skip_json(text: &[u8], mut at: usize) -> (usize, u32) {
    let mut sum = 1;
    match text[at] {
        b'{' | b'[' => {
            at += 1;
            while text[at] != b'}' && text[at] != b']' {
                if text[at] == b',' || text[at] == b':' || text[at] == b' ' {
                    at += 1;
                    continue;
                }
                let (next, inner) = skip_json(text, at);
                at = next;
                sum += inner;
            }
            (at + 1, sum)
        }
        b'"' => {
            at += 1;
            while text[at] != b'"' {
                at += if text[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1, sum)
        }
        _ => {
            while at < text.len() && !matches!(text[at], b',' | b'}' | b']' | b' ') {
                sum = sum * 31 + u32::from(text[at]) % 7;
                at += 1;
            }
            (at, sum % 1000)
        }
    }
}

const JSON: &str = r#"{"user": {"id": 1234, "name": "Ada \"L\"", "roles": ["admin", "dev", "ops"]}, "items": [{"sku": "a-1", "n": 3}, {"sku": "b-2", "n": 55}], "ok": true, "total": 123.45}"#;

#[no_mangle]
pub extern "C" fn json(rounds: u32) -> u32 {
    (0..rounds).fold(0, |sum, _| sum.wrapping_add(skip_json(JSON.as_bytes(), 0).1))
}

#[no_mangle]
pub extern "C" fn hash(rounds: u32) -> u32 {
    let mut state = [0x6a09_e667u32, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
    for round in 0..rounds * 64 {
        for i in 0..4 {
            let x = state[i].rotate_right(6) ^ state[(i + 1) & 3].rotate_right(11) ^ round;
            let y = (state[(i + 2) & 3] & x) ^ (!x & state[(i + 3) & 3]);
            state[i] = x.wrapping_add(y).wrapping_mul(0x9e37_79b1);
        }
    }
    state[0] ^ state[3]
}

#[no_mangle]
pub extern "C" fn sort(rounds: u32) -> u32 {
    let mut sum = 0;
    for round in 0..rounds {
        let mut seed = round.wrapping_add(1);
        let mut values: Vec<u32> = (0..200)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                seed >> 8
            })
            .collect();
        values.sort_unstable();
        sum ^= values[100];
    }
    sum
}

#[no_mangle]
pub extern "C" fn base64(rounds: u32) -> u32 {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sum = 0u32;
    for _ in 0..rounds {
        let mut out = Vec::with_capacity(300);
        for three in JSON.as_bytes().chunks(3) {
            let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
            for shift in [18, 12, 6, 0] {
                out.push(DIGITS[(word >> shift & 63) as usize]);
            }
        }
        sum = sum.wrapping_add(u32::from(out[out.len() - 2]));
    }
    sum
}

#[no_mangle]
pub extern "C" fn fib(rounds: u32) -> u32 {
    fn of(n: u32) -> u32 {
        if n < 2 { n } else { of(n - 1) + of(n - 2) }
    }
    (0..rounds).fold(0, |sum, _| sum.wrapping_add(of(std::hint::black_box(15))))
}

#[no_mangle]
pub extern "C" fn sieve(rounds: u32) -> u32 {
    let mut count = 0;
    for _ in 0..rounds {
        let mut marked = [false; 4096];
        for i in 2..4096 {
            if marked[i] {
                continue;
            }
            count += 1;
            let mut k = i * 2;
            while k < 4096 {
                marked[k] = true;
                k += i;
            }
        }
    }
    count
}
