package gateway

import "strings"

// maxName bounds a stream's name in bytes.
const maxName = 64

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// validName keeps out of the forwarder's socket whatever cannot be a stream: a
// line feed, above all, would end the name there and begin a resume.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, nameBytes) == "" && name[0] != '.'
}

// streamOfPath takes the stream's name from an RTSP path such as "/main".
func streamOfPath(path string) (name string, ok bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	return name, validName(name)
}
