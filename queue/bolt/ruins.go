package bolt

// everyPage visits every page of the file that could be a leaf, whether it is
// in use or not. What cannot be one is left out, and so are pages that belong
// to one before: they hold mail, in which a sender may have written a page.
func (r *ruins) everyPage(visit func(page)) {
	pages := uint64(r.size / r.pageSize)
	for id := uint64(2); id < pages; {
		p, err := r.page(id, pages)
		if err != nil {
			id++
			continue
		}
		if p.flags == flagLeaf {
			visit(p)
		}
		id += uint64(p.total / r.pageSize)
	}
}

// everyElement visits the elements of a leaf, and of the buckets within it.
func (r *ruins) everyElement(p page, visit func(element)) {
	for e, err := range p.elements() {
		if err != nil {
			continue
		}
		visit(e)
		if !e.bucket {
			continue
		}
		if inner, root, err := e.inside(); err == nil && root == 0 {
			r.everyElement(inner, visit)
		}
	}
}
