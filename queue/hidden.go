package queue

// packKeys returns an address with the routing keys of a BCC header behind it, each with its length in an octet, as the
// log keeps them. A key that is longer than a binding key can be reaches nothing and is left out, and so is what would make
// the whole longer than the log takes.
func packKeys(address []byte, keys []string) []byte {
	const longest = 1<<16 - 1
	b := append([]byte(nil), address...)
	for _, k := range keys {
		if len(k) <= 255 && len(b)+1+len(k) <= longest {
			b = append(append(b, byte(len(k))), k...)
		}
	}
	return b
}

// unpackKeys takes apart what packKeys made. The address is a slice of packed.
func unpackKeys(packed []byte) (address []byte, keys []string) {
	next := func(at int) int {
		if at >= len(packed) {
			return len(packed)
		}
		return min(at+1+int(packed[at]), len(packed))
	}
	at := next(next(0)) // behind exchange and routing key
	address = packed[:at:at]
	for at < len(packed) {
		end := next(at)
		keys = append(keys, string(packed[at+1:end]))
		at = end
	}
	return address, keys
}
