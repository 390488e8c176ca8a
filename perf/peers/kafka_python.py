"""A peer of perf/compare: kafka-python, a client in Python alone.

kafka_python.py produce BROKERS TOPIC MESSAGES FILE     the lines of the file
kafka_python.py consume BROKERS TOPIC MESSAGES          all partitions from their beginning, without a look at the messages

Prints how many messages were acknowledged or read.
"""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition


def produce(brokers, topic, messages, path):
    producer = KafkaProducer(
        bootstrap_servers=brokers.split(","), acks="all", enable_idempotence=True, linger_ms=5, compression_type="lz4"
    )
    with open(path, "rb") as lines:
        futures = [producer.send(topic, line[:-1]) for line in lines]
    producer.flush()
    return sum(1 for future in futures if future.succeeded())


def consume(brokers, topic, messages):
    consumer = KafkaConsumer(bootstrap_servers=brokers.split(","), group_id=None, enable_auto_commit=False)
    partitions = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    read = 0
    while read < messages:
        read += sum(len(records) for records in consumer.poll(timeout_ms=100, max_records=5000).values())
    consumer.close()
    return read


if __name__ == "__main__":
    act = {"produce": produce, "consume": consume}[sys.argv[1]]
    print(act(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:]))
