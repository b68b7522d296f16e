package core

import (
	"fmt"
	"strings"
)

// Statuses of RTSP (RFC 2326 §7.1.1).
const (
	rtspOK           = "200 OK"
	rtspUnknown      = "451 Parameter Not Understood"
	rtspNoSession    = "454 Session Not Found"
	rtspUnavailable  = "503 Service Unavailable"
	rtspWrongVersion = "505 RTSP Version Not Supported"
)

// rtspMethods is what the gateway and the forwarder together answer.
const rtspMethods = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"

// rtspReply is what the forwarder answers by itself.
type rtspReply struct {
	text  string // "": the request is the gateway's to answer
	leave bool   // the client has said goodbye
}

// answer replies to a request in a session. Without a body, GET_PARAMETER and
// SET_PARAMETER are signs of life (RFC 2326 §10.8); there are no parameters.
func (r *rtspRequest) answer(session string, timeoutMS int64) rtspReply {
	switch {
	case r.version != "RTSP/1.0" && r.version != "RTSP/2.0":
		return rtspReply{text: r.reply(rtspWrongVersion, "")}
	case r.session != "" && r.session != session:
		return rtspReply{text: r.reply(rtspNoSession, "")}
	}
	named := "Session: " + session
	if timeoutMS > 0 {
		named += fmt.Sprintf(";timeout=%d", timeoutMS/1000)
	}
	switch r.method {
	case "OPTIONS":
		return rtspReply{text: r.reply(rtspOK, "Public: "+rtspMethods)}
	case "GET_PARAMETER", "SET_PARAMETER":
		if len(r.body) > 0 {
			return rtspReply{text: r.reply(rtspUnknown, named)}
		}
		return rtspReply{text: r.reply(rtspOK, named)}
	case "TEARDOWN":
		return rtspReply{text: r.reply(rtspOK, ""), leave: true}
	}
	return rtspReply{}
}

// reply makes a response in the version that the client speaks, with at most one
// header more.
func (r *rtspRequest) reply(status, header string) string {
	version := r.version
	if status == rtspWrongVersion {
		version = "RTSP/1.0"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\r\nCSeq: %s\r\n", version, status, r.cseq)
	if header != "" {
		b.WriteString(header + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}
