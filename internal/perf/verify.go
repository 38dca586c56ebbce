package perf

// verify compares what came to each queue with what was sent there, message by message.
func (r *run) verify(queues []seen, res *Result) {
	for q := range queues {
		s := &queues[q]
		res.Duplicates += s.duplicates
		res.Strays += s.strays
		if r.cfg.Producers == 0 { // filled by another run: only the number is known
			continue
		}
		for id := range s.from {
			if id >= len(r.producers) {
				res.Strays += s.from[id].count
			}
		}
		for id, p := range r.producers {
			var came bitmap
			if id < len(s.from) {
				came = s.from[id]
			}
			missing, strays := compare(&came, p.sent.Load(), belongs(r.routes[id], q))
			res.Missing += missing
			res.Strays += strays
		}
	}
	if r.cfg.Producers == 0 {
		res.Missing = max(0, r.cfg.Messages-(res.Arrived-res.Duplicates))
	}
}

// belongs says for each route whether a queue is one of its.
func belongs(routes []route, queue int) []bool {
	b := make([]bool, len(routes))
	for i, r := range routes {
		for _, q := range r.queues {
			if q == queue {
				b[i] = true
			}
		}
	}
	return b
}

// compare counts the numbers below sent that should have come and did not, and those that came and should not have.
// Number n belongs if n modulo their number does.
func compare(came *bitmap, sent int64, belongs []bool) (missing, strays int64) {
	var right int64 // came and belongs
	slot := 0
	for n := range uint64(sent) {
		if belongs[slot] {
			if came.has(n) {
				right++
			} else {
				missing++
			}
		}
		if slot++; slot == len(belongs) {
			slot = 0
		}
	}
	return missing, came.count - right
}
