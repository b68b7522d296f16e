// Package control is the agent's local face: HTTP and JSON over a unix socket,
// the same for the CLI, for scripts and for the link to the panel.
//
//	GET  /v1/status              Status
//	GET  /v1/status?after=SEQ    Status once its seq is another, at the latest after 30 s
//	GET  /v1/history?max=N       the newest N Records
//	POST /v1/stage               StageRequest    → Result
//	POST /v1/activate            ActivateRequest → Result
//	POST /v1/install             InstallRequest  → Result
//	POST /v1/greenlight          nothing         → Result
//	POST /v1/revert              nothing         → Result
//	POST /v1/rehearse            RehearseRequest → Result
//	POST /v1/reset               ResetRequest    → Result
//	POST /v1/trust               TrustRequest    → Result
//	POST /v1/enroll              EnrollRequest   → Result
//	POST /v1/leave               LeaveRequest    → Result
//
// Whatever is not a Status or Records is a [Result], refusals of the request
// itself included, so a script needs to understand one shape. The HTTP status
// follows Result.Exit: 200 done, nothing to do or reboot needed; 409 reverted;
// 422 refused by the device, another 4xx when the request never got there; 5xx
// error.
//
// It keeps one promise to the agent: what arrives at the [Backend] is complete,
// bounded and of known shape. Against a client that is slow, endless or mistaken
// it has deadlines, limits and strict decoding; against a stranger it has the
// mode and group of the socket, and nothing else: whoever may open the socket
// may update the device.
//
// Rejected: a TCP port (the panel comes in by the link, which has its own
// identity); D-Bus (not on every camera); removing a socket file that is merely
// there (a second agent would cut the first one off from its tools).
package control
