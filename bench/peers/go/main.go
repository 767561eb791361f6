// fasthttp with the one answer that the benches ask for, on one processor (GOMAXPROCS=1).
package main

import (
	"fmt"
	"log"
	"net"
	"os"

	"github.com/valyala/fasthttp"
)

func answer(ctx *fasthttp.RequestCtx) {
	if string(ctx.Path()) != "/native" {
		ctx.Error("no such path", fasthttp.StatusNotFound)
		return
	}
	ctx.SetContentType("text/plain; charset=UTF-8")
	ctx.SetBodyString("Hello, World!")
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// As Sluice's answers: a date, no name.
	server := &fasthttp.Server{Handler: answer, NoDefaultServerHeader: true}
	fmt.Printf("ready %d http://%s\n", os.Getpid(), listener.Addr())
	log.Fatal(server.Serve(listener))
}
