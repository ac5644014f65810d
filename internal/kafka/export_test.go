package kafka

// Decode decodes a record set as Fetch does, for tests without a broker.
func Decode(from int64, set []byte) (Fetched, error) {
	codecs, err := newCodecs()
	if err != nil {
		return Fetched{}, err
	}
	return decodeWith(codecs, from, set)
}

// DecodeAgain returns a Decode that keeps its codecs, for benchmarks.
func DecodeAgain() func(from int64, set []byte) (Fetched, error) {
	codecs, err := newCodecs()
	if err != nil {
		panic(err)
	}
	return func(from int64, set []byte) (Fetched, error) { return decodeWith(codecs, from, set) }
}

func decodeWith(codecs *codecs, from int64, set []byte) (Fetched, error) {
	d := &batchDecoder{at: TopicPartition{Topic: "t"}, from: from, next: from, codecs: codecs, logAppendTime: true}
	err := d.decode(set)
	return Fetched{Records: d.records, Next: d.next, LogAppendTime: d.logAppendTime}, err
}

// Murmur2 is the hash of PartitionForKey.
var Murmur2 = murmur2

// ReadBody decodes a fetch answer as the transport does.
func ReadBody(r interface{ Read(p []byte) (int, error) }) ([]byte, error) {
	var b fetchBody
	_, err := b.ReadFrom(r)
	return b.records, err
}
