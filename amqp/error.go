package amqp

import "fmt"

// A Code is a reply code. Spec: 1.1, with RabbitMQ's meaning of each.
type Code uint16

// The reply codes. The comment says what they close.
const (
	ReplySuccess       Code = 200
	ContentTooLarge    Code = 311 // channel
	NoRoute            Code = 312 // only in basic.return
	NoConsumers        Code = 313 // channel
	AccessRefused      Code = 403 // channel
	NotFound           Code = 404 // channel
	ResourceLocked     Code = 405 // channel
	PreconditionFailed Code = 406 // channel
	ConnectionForced   Code = 320 // connection, as all below
	InvalidPath        Code = 402
	FrameError         Code = 501
	SyntaxError        Code = 502
	CommandInvalid     Code = 503
	ChannelError       Code = 504
	UnexpectedFrame    Code = 505
	ResourceError      Code = 506
	NotAllowed         Code = 530
	NotImplemented     Code = 540
	InternalError      Code = 541
)

var codeNames = map[Code]string{
	ReplySuccess: "REPLY_SUCCESS", ContentTooLarge: "CONTENT_TOO_LARGE", NoRoute: "NO_ROUTE", NoConsumers: "NO_CONSUMERS",
	AccessRefused: "ACCESS_REFUSED", NotFound: "NOT_FOUND", ResourceLocked: "RESOURCE_LOCKED",
	PreconditionFailed: "PRECONDITION_FAILED", ConnectionForced: "CONNECTION_FORCED", InvalidPath: "INVALID_PATH",
	FrameError: "FRAME_ERROR", SyntaxError: "SYNTAX_ERROR", CommandInvalid: "COMMAND_INVALID", ChannelError: "CHANNEL_ERROR",
	UnexpectedFrame: "UNEXPECTED_FRAME", ResourceError: "RESOURCE_ERROR", NotAllowed: "NOT_ALLOWED",
	NotImplemented: "NOT_IMPLEMENTED", InternalError: "INTERNAL_ERROR",
}

// String returns the code's name as reply texts begin with it.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("CODE_%d", uint16(c))
}

// Hard reports whether c closes the connection rather than the channel.
func (c Code) Hard() bool {
	switch c {
	case ContentTooLarge, NoRoute, NoConsumers, AccessRefused, NotFound, ResourceLocked, PreconditionFailed:
		return false
	}
	return true
}

// An Error is a fault that the client is told about, in a channel.close or a connection.close.
type Error struct {
	Code   Code
	Text   string   // without the code's name, which ReplyText puts in front
	Method MethodID // the failing method; 0 if unknown
}

// Errorf returns an Error with a formatted text.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Text: fmt.Sprintf(format, args...)}
}

// Error returns the reply text.
func (e *Error) Error() string { return e.ReplyText() }

// ReplyText returns "NAME - text", cut to the 255 bytes that a short string holds as RabbitMQ cuts it.
func (e *Error) ReplyText() string {
	s := e.Code.String() + " - " + e.Text
	if len(s) > 255 {
		s = s[:252] + "..."
	}
	return s
}
