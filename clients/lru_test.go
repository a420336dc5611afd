package clients

import "testing"

func TestLRUForgetsTheOldest(t *testing.T) {
	l := newLRU[int](2)
	l.put("a", 1)
	l.put("b", 2)
	l.get("a")
	l.put("c", 3)
	l.put("a", 4)
	if _, ok := l.get("b"); ok {
		t.Error("the least recently used is still there")
	}
	if v, ok := l.get("a"); !ok || v != 4 {
		t.Errorf("a = %d, %v", v, ok)
	}
	l.remove("a")
	l.remove("a")
	if _, ok := l.get("a"); ok || l.order.Len() != len(l.items) || l.order.Len() != 1 {
		t.Errorf("%d in order, %d items", l.order.Len(), len(l.items))
	}
}
