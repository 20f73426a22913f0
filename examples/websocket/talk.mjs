// Says something over a WebSocket and prints the answer: `npx bun examples/websocket/talk.mjs ws://127.0.0.1:8080/chat hello`.
import process from "node:process";

const [url = "", ...words] = process.argv.slice(2);
const socket = new WebSocket(url);
socket.onopen = () => socket.send(words.join(" "));
socket.onmessage = ({ data }) => {
  process.stdout.write(`${data}\n`);
  socket.close();
};
socket.onclose = ({ code }) => process.exit(code === 1006 ? 1 : 0);
