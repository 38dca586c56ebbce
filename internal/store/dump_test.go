package store

import "fmt"

func Dump(fs FS, dir string, queue uint64, lo, hi uint64) {
	var mf manifestFiles
	m, _, _, _ := mf.open(fs, dir)
	fmt.Println("manifest gen", m.gen, "logStart", m.logStart, "extents", m.extents)
	for _, q := range m.queues {
		if q.id == queue {
			fmt.Println("live", q.live)
		}
	}
	names, _ := fs.List(dir)
	for _, n := range names {
		if len(n) != 12 {
			continue
		}
		f, _ := fs.Open(dir + "/" + n)
		h, ok, _ := readHead(f)
		if !ok {
			continue
		}
		fmt.Println(n, "kind", h.kind, "id", h.id, "end", h.end, "bounds", h.bounds)
		sc := scanner{f: f, salt: h.salt, limit: 1 << 30}
		if h.end != 0 {
			sc.limit = int64(h.end)
		}
		p := func(e *entry) {
			if e.queue != queue {
				return
			}
			switch e.typ {
			case typeMessage:
				if e.seq >= lo && e.seq <= hi {
					fmt.Println("   msg", e.seq, e.off)
				}
			case typeSettle:
				fmt.Println("   settle", e.pairs, e.off)
			}
		}
		t := sc.run(p, func(d damage) { fmt.Println("   damage", d) })
		fmt.Println("   scan end", sc.end, "torn", t)
	}
}
