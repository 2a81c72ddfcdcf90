package model

// cached is how many graphs of each kind a rank keeps. Training has one batch shape, evaluation a few.
const cached = 4

// cache keeps the values used last.
type cache[K comparable, V interface{ close() error }] struct {
	keys   []K // the one used last is last
	values map[K]V
}

// get returns the value of a key, building it where it is missing and dropping the one unused for longest where there are too many.
func (c *cache[K, V]) get(key K, build func() (V, error)) (V, error) {
	if v, ok := c.values[key]; ok {
		c.touch(key)
		return v, nil
	}
	v, err := build()
	if err != nil {
		return v, err
	}
	if c.values == nil {
		c.values = map[K]V{}
	}
	c.values[key] = v
	c.keys = append(c.keys, key)
	if len(c.keys) <= cached {
		return v, nil
	}
	oldest := c.keys[0]
	c.keys = c.keys[1:]
	err = c.values[oldest].close()
	delete(c.values, oldest)
	return v, err
}

func (c *cache[K, V]) touch(key K) {
	for i, k := range c.keys {
		if k == key {
			c.keys = append(append(c.keys[:i:i], c.keys[i+1:]...), key)
			return
		}
	}
}

// clear closes everything.
func (c *cache[K, V]) clear() error {
	var first error
	for _, v := range c.values {
		if err := v.close(); first == nil {
			first = err
		}
	}
	c.keys, c.values = nil, nil
	return first
}
