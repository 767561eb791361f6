/**
 * Plays systemd's side of sd_notify(3): prints each datagram that comes to the socket of the first argument, as a line of JSON.
 *
 * @module
 */
const socket = Deno.listenDatagram({
  transport: "unixpacket",
  path: Deno.args[0],
});
console.log(JSON.stringify("listening"));
for await (const [bytes] of socket) {
  console.log(JSON.stringify(new TextDecoder().decode(bytes)));
}
