// A name server as small as can be, in place of your own (Consul, CoreDNS, …): whatever is asked for is on this machine, at the ports
// that stand in a file. `node names.mjs 5353 ports.txt`; the file is read for each answer.
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import process from "node:process";

const [port = "5353", file = ""] = process.argv.slice(2);
const [A, SRV, TTL_SECONDS] = [1, 33, 1];

/** One record about the name in question (a pointer to it, RFC 1035 §4.1.4). */
function recordOf(type, data) {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(TTL_SECONDS, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** Priority 0, weight 1, the port, and the name `node.local` (RFC 2782). */
function srvData(text) {
  const numbers = Buffer.alloc(6);
  numbers.writeUInt16BE(1, 2);
  numbers.writeUInt16BE(Number(text), 4);
  return Buffer.concat([numbers, Buffer.from("\x04node\x05local\x00", "latin1")]);
}

const socket = createSocket("udp4");
socket.on("message", (query, from) => {
  const nameEnd = query.indexOf(0, 12);
  if (nameEnd < 0 || query.length < nameEnd + 5) return;
  const type = query.readUInt16BE(nameEnd + 1);
  const records = [];
  if (type === A) records.push(recordOf(A, Buffer.from([127, 0, 0, 1])));
  let flags = 0x8580;
  try {
    if (type === SRV) {
      const ports = readFileSync(file, "utf8").trim().split(/\s+/);
      records.push(...ports.map((text) => recordOf(SRV, srvData(text))));
    }
  } catch (error) {
    process.stderr.write(`SERVFAIL: ${error.message}\n`);
    flags |= 2;
  }
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  socket.send(Buffer.concat([head, query.subarray(12, nameEnd + 5), ...records]), from.port, from.address);
});
socket.bind(Number(port), "127.0.0.1", () => process.stderr.write(`names on ${port}\n`));
