"""A peer of perf/compare: confluent-kafka, librdkafka for Python.

confluent.py produce BROKERS TOPIC MESSAGES FILE     the lines of the file
confluent.py consume BROKERS TOPIC MESSAGES          all partitions from their beginning, without a look at the messages

Prints how many messages were acknowledged or read.
"""

import os
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def produce(brokers, topic, messages, path):
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "lz4",
        }
    )
    with open(path, "rb") as lines:
        for number, line in enumerate(lines):
            line = line[:-1]
            while True:
                try:
                    producer.produce(topic, line)
                    break
                except BufferError:
                    producer.poll(0.01)
            if number % 1000 == 0:
                producer.poll(0)
    return messages - producer.flush(60)


def consume(brokers, topic, messages):
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"confluent-{os.getpid()}", "enable.auto.commit": False}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    read = 0
    while read < messages:
        batch = consumer.consume(10_000, timeout=0.1)
        read += sum(1 for message in batch if not message.error())
    consumer.close()
    return read


if __name__ == "__main__":
    act = {"produce": produce, "consume": consume}[sys.argv[1]]
    print(act(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:]))
