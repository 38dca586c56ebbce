package amqp

import "encoding/binary"

// The property flags of a content header. Spec: 2.3.5.2 and 1.8.
const (
	FlagContentType     = 1 << 15
	FlagContentEncoding = 1 << 14
	FlagHeaders         = 1 << 13
	FlagDeliveryMode    = 1 << 12
	FlagPriority        = 1 << 11
	FlagCorrelationID   = 1 << 10
	FlagReplyTo         = 1 << 9
	FlagExpiration      = 1 << 8
	FlagMessageID       = 1 << 7
	FlagTimestamp       = 1 << 6
	FlagType            = 1 << 5
	FlagUserID          = 1 << 4
	FlagAppID           = 1 << 3
	FlagClusterID       = 1 << 2
)

// Properties are a message's properties, decoded. A property counts only if its flag is set in Flags.
type Properties struct {
	Flags           uint16
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string // milliseconds, decimal
	MessageID       string
	Timestamp       Timestamp
	Type            string
	UserID          string
	AppID           string
	ClusterID       string
}

// Facts are those properties of a content header that a broker acts on, as slices of it.
type Facts struct {
	Flags       uint16 // the property flags: which properties are present
	Mode        uint8  // delivery-mode, 0 if absent: 1 transient, 2 persistent
	Priority    uint8  // 0 if absent
	Expiration  []byte // nil if absent, as below
	UserID      []byte
	ReplyTo     []byte
	Correlation []byte
	MessageID   []byte
	Timestamp   uint64 // seconds; meaningful if Flags has FlagTimestamp
	Headers     RawTable
}

// headFixed is the size of a content header before its property flags: class, weight, body size.
const headFixed = 12

// ParseFacts reads what a broker acts on from the payload of a content header, and checks all of it. It allocates nothing
// and its results are slices of header.
func ParseFacts(header []byte) (Facts, error) {
	var f Facts
	if len(header) < headFixed+2 {
		return f, Errorf(SyntaxError, "content header of %d bytes", len(header))
	}
	r := reader{rest: header[headFixed:]}
	f.Flags = r.short()
	if f.Flags&3 != 0 {
		return f, Errorf(SyntaxError, "unknown property flags %#x", f.Flags&3)
	}
	// The common case: at most a content type and the delivery mode.
	if f.Flags&FlagContentType != 0 {
		r.shortBytes()
	}
	if f.Flags&FlagContentEncoding != 0 {
		r.shortBytes()
	}
	if f.Flags&FlagHeaders != 0 {
		f.Headers = RawTable(r.take(uint64(r.long())))
		r.fail(f.Headers.Check())
	}
	if f.Flags&FlagDeliveryMode != 0 {
		f.Mode = r.octet()
	}
	if f.Flags&(FlagDeliveryMode-1) != 0 {
		f.parseRest(&r)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = Errorf(SyntaxError, "%d bytes after the properties", len(r.rest))
	}
	return f, r.err
}

func (f *Facts) parseRest(r *reader) {
	if f.Flags&FlagPriority != 0 {
		f.Priority = r.octet()
	}
	if f.Flags&FlagCorrelationID != 0 {
		f.Correlation = r.shortBytes()
	}
	if f.Flags&FlagReplyTo != 0 {
		f.ReplyTo = r.shortBytes()
	}
	if f.Flags&FlagExpiration != 0 {
		f.Expiration = r.shortBytes()
	}
	if f.Flags&FlagMessageID != 0 {
		f.MessageID = r.shortBytes()
	}
	if f.Flags&FlagTimestamp != 0 {
		f.Timestamp = r.longlong()
	}
	if f.Flags&FlagType != 0 {
		r.shortBytes()
	}
	if f.Flags&FlagUserID != 0 {
		f.UserID = r.shortBytes()
	}
	if f.Flags&FlagAppID != 0 {
		r.shortBytes()
	}
	if f.Flags&FlagClusterID != 0 {
		r.shortBytes()
	}
}

// MaxExpiration is the longest time to live, ten years in milliseconds.
const MaxExpiration = 315360000000

// ParseExpiration reads the expiration property: milliseconds as decimal digits.
func ParseExpiration(s []byte) (ms int64, ok bool) {
	if len(s) > 1 && s[0] == '+' { // RabbitMQ takes it
		s = s[1:]
	}
	for _, c := range s {
		if c < '0' || c > '9' || ms > MaxExpiration {
			return 0, false
		}
		ms = ms*10 + int64(c-'0')
	}
	return ms, len(s) > 0 && ms <= MaxExpiration
}

// ParseProperties decodes all properties from the payload of a content header. The result shares no memory with it.
func ParseProperties(header []byte) (Properties, error) {
	var p Properties
	if len(header) < headFixed+2 {
		return p, Errorf(SyntaxError, "content header of %d bytes", len(header))
	}
	r := reader{rest: header[headFixed:]}
	p.Flags = r.short()
	if p.Flags&3 != 0 {
		return p, Errorf(SyntaxError, "unknown property flags %#x", p.Flags&3)
	}
	has := func(flag uint16) bool { return p.Flags&flag != 0 }
	str := func(flag uint16, s *string) {
		if has(flag) {
			*s = r.shortstr()
		}
	}
	str(FlagContentType, &p.ContentType)
	str(FlagContentEncoding, &p.ContentEncoding)
	if has(FlagHeaders) {
		p.Headers = r.table()
	}
	if has(FlagDeliveryMode) {
		p.DeliveryMode = r.octet()
	}
	if has(FlagPriority) {
		p.Priority = r.octet()
	}
	str(FlagCorrelationID, &p.CorrelationID)
	str(FlagReplyTo, &p.ReplyTo)
	str(FlagExpiration, &p.Expiration)
	str(FlagMessageID, &p.MessageID)
	if has(FlagTimestamp) {
		p.Timestamp = Timestamp(r.longlong())
	}
	str(FlagType, &p.Type)
	str(FlagUserID, &p.UserID)
	str(FlagAppID, &p.AppID)
	str(FlagClusterID, &p.ClusterID)
	if r.err == nil && len(r.rest) > 0 {
		r.err = Errorf(SyntaxError, "%d bytes after the properties", len(r.rest))
	}
	return p, r.err
}

// AppendHeader appends the payload of a content header of class basic with p for a body of size bytes.
func AppendHeader(b []byte, p *Properties, size uint64) []byte {
	b = append(b, 0, 60, 0, 0)
	b = appendLonglong(b, size)
	b = appendShort(b, p.Flags)
	has := func(flag uint16) bool { return p.Flags&flag != 0 }
	str := func(flag uint16, s string) {
		if has(flag) {
			b = appendShortstr(b, s)
		}
	}
	str(FlagContentType, p.ContentType)
	str(FlagContentEncoding, p.ContentEncoding)
	if has(FlagHeaders) {
		b = AppendTable(b, p.Headers)
	}
	if has(FlagDeliveryMode) {
		b = append(b, p.DeliveryMode)
	}
	if has(FlagPriority) {
		b = append(b, p.Priority)
	}
	str(FlagCorrelationID, p.CorrelationID)
	str(FlagReplyTo, p.ReplyTo)
	str(FlagExpiration, p.Expiration)
	str(FlagMessageID, p.MessageID)
	if has(FlagTimestamp) {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Timestamp))
	}
	str(FlagType, p.Type)
	str(FlagUserID, p.UserID)
	str(FlagAppID, p.AppID)
	str(FlagClusterID, p.ClusterID)
	return b
}
