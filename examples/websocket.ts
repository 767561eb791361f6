// A chat room: whatever one says, all in the room hear.
//
//   deno task start gateway examples/websocket.ts
//   open http://127.0.0.1:8080/ in two windows

import { Hono } from "hono";
import type { WSContext } from "hono/ws";
import { defineGateway, type ServerWebSocket, upgradeWebSocket } from "sluice";

type Member = WSContext<ServerWebSocket>;

const rooms = new Map<string, Set<Member>>();

const app = new Hono();

app.get(
  "/room/:name",
  upgradeWebSocket((c) => {
    const name = c.req.param("name")!;
    const room = rooms.get(name) ?? new Set();
    return {
      onOpen: (_, member) => void rooms.set(name, room.add(member)),
      onMessage: ({ data }) => {
        for (const member of room) member.send(`${room.size} here: ${data}`);
      },
      onClose: (_, member) => {
        room.delete(member);
        if (room.size === 0) rooms.delete(name);
      },
    };
  }, { messageBytesMax: 4096, origins: ["http://127.0.0.1:8080"] }),
);

app.get(
  "/",
  (c) =>
    c.html(`<!doctype html><title>Lobby</title><input autofocus><pre></pre>
<script>
  const socket = new WebSocket("/room/lobby");
  const input = document.querySelector("input");
  input.onchange = () => (socket.send(input.value), input.value = "");
  socket.onmessage = ({ data }) =>
    document.querySelector("pre").append(data + "\\n");
</script>`),
);

export default defineGateway(app, {
  listeners: [{ address: "127.0.0.1:8080" }],
});
