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
